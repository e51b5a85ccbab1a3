/* What goes back to the kernel: Python's attributes, listings and buffers as the bytes of the wire format. */
#define _GNU_SOURCE
#include "answers.h"

#include <errno.h>
#include <string.h>

#define UNLOCKED_MIN 65536             /* answers from here on are written without the GIL */
#define PARTS_MAX 512                  /* of an answer; below IOV_MAX */
#define TIMEOUT_MAX 1e9                /* seconds; 30 years, and far from overflow */

int session_fd = -1;

struct out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

int send_answer(uint64_t unique, int error, struct iovec *iov, int count)
{
    struct out_header header = {.len = sizeof header, .error = error, .unique = unique};
    iov[0].iov_base = &header;
    iov[0].iov_len = sizeof header;
    for (int i = 1; i < count; i++)
        header.len += (uint32_t)iov[i].iov_len;
    int result;
    if (header.len < UNLOCKED_MIN)
        return writev(session_fd, iov, count) < 0 ? errno : 0;
    Py_BEGIN_ALLOW_THREADS
    result = writev(session_fd, iov, count) < 0 ? errno : 0;
    Py_END_ALLOW_THREADS
    return result;
}

static PyObject *send_struct(uint64_t unique, void *body, size_t size)
{
    struct iovec iov[2] = {{0}, {body, size}};
    return PyLong_FromLong(send_answer(unique, 0, iov, 2));
}

void send_error(uint64_t unique, int error)
{
    struct iovec iov[1];
    send_answer(unique, -error, iov, 1);
}

/* ---- attributes as bytes ---- */

struct attr {
    uint64_t ino, size, blocks, atime, mtime, ctime;
    uint32_t atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags;
};

struct entry_out {
    uint64_t nodeid, generation, entry_valid, attr_valid;
    uint32_t entry_valid_nsec, attr_valid_nsec;
    struct attr attr;
};

struct attr_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec, dummy;
    struct attr attr;
};

struct open_out {
    uint64_t fh;
    uint32_t open_flags, padding;
};

struct sx_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};

struct statx_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec, flags;
    uint64_t spare[2];
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0;
    uint64_t ino, size, blocks, attributes_mask;
    struct sx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare2[14];
};

struct dirent_plus {
    struct entry_out entry;
    uint64_t ino, offset;
    uint32_t name_size, type;
};

_Static_assert(sizeof(struct attr) == 88, "fuse_attr");
_Static_assert(sizeof(struct entry_out) == 128, "fuse_entry_out");
_Static_assert(sizeof(struct statx_out) == 288, "fuse_statx_out");
_Static_assert(sizeof(struct dirent_plus) == 152, "fuse_direntplus");

enum name {
    INO, MODE, NLINK, UID, GID, RDEV, SIZE, BLOCKS, BLOCK_SIZE, ATIME, MTIME, CTIME, BTIME, GENERATION, KEEP,
    NAME, ATTRIBUTES, OFFSET, NAMES
};
static const char *const name_texts[NAMES] = {
    "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blocks", "block_size", "atime_ns", "mtime_ns",
    "ctime_ns", "btime_ns", "generation", "keep_seconds", "name", "attributes", "offset",
};
static PyObject *names[NAMES];

static int get_number(PyObject *object, enum name name, uint64_t *number)
{
    PyObject *value = PyObject_GetAttr(object, names[name]);
    if (!value)
        return 0;
    *number = PyLong_AsUnsignedLongLong(value);
    Py_DECREF(value);
    return !PyErr_Occurred();
}

static int get_narrow(PyObject *object, enum name name, uint32_t *number)
{
    uint64_t wide;
    if (!get_number(object, name, &wide))
        return 0;
    if (wide > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s does not fit into 32 bits", name_texts[name]);
        return 0;
    }
    *number = (uint32_t)wide;
    return 1;
}

static int get_time(PyObject *object, enum name name, uint64_t *seconds, uint32_t *nanoseconds)
{
    PyObject *value = PyObject_GetAttr(object, names[name]);
    if (!value)
        return 0;
    long long whole = PyLong_AsLongLong(value);
    Py_DECREF(value);
    if (whole == -1 && PyErr_Occurred())
        return 0;
    long long rest = whole % 1000000000;
    if (rest < 0)
        rest += 1000000000;
    *seconds = (uint64_t)((whole - rest) / 1000000000);
    *nanoseconds = (uint32_t)rest;
    return 1;
}

static int set_timeout(PyObject *value, uint64_t *seconds, uint32_t *nanoseconds)
{
    double keep = PyFloat_AsDouble(value);
    if (keep == -1.0 && PyErr_Occurred())
        return 0;
    if (!(keep > 0)) /* also what is not a number */
        keep = 0;
    if (keep > TIMEOUT_MAX)
        keep = TIMEOUT_MAX;
    *seconds = (uint64_t)keep;
    *nanoseconds = (uint32_t)((keep - (double)*seconds) * 1e9);
    return 1;
}

static int get_timeout(PyObject *object, uint64_t *seconds, uint32_t *nanoseconds)
{
    PyObject *value = PyObject_GetAttr(object, names[KEEP]);
    int set = value && set_timeout(value, seconds, nanoseconds);
    Py_XDECREF(value);
    return set;
}

static int get_attr(PyObject *object, struct attr *attr)
{
    attr->flags = 0;
    return get_number(object, INO, &attr->ino) && get_number(object, SIZE, &attr->size)
        && get_number(object, BLOCKS, &attr->blocks) && get_narrow(object, MODE, &attr->mode)
        && get_narrow(object, NLINK, &attr->nlink) && get_narrow(object, UID, &attr->uid)
        && get_narrow(object, GID, &attr->gid) && get_narrow(object, RDEV, &attr->rdev)
        && get_narrow(object, BLOCK_SIZE, &attr->blksize)
        && get_time(object, ATIME, &attr->atime, &attr->atimensec)
        && get_time(object, MTIME, &attr->mtime, &attr->mtimensec)
        && get_time(object, CTIME, &attr->ctime, &attr->ctimensec);
}

static int get_entry(PyObject *object, struct entry_out *entry)
{
    if (!get_attr(object, &entry->attr) || !get_number(object, GENERATION, &entry->generation)
        || !get_timeout(object, &entry->entry_valid, &entry->entry_valid_nsec))
        return 0;
    entry->nodeid = entry->attr.ino;
    entry->attr_valid = entry->entry_valid;
    entry->attr_valid_nsec = entry->entry_valid_nsec;
    return 1;
}

/* ---- what Python calls ---- */

static int enough(Py_ssize_t got, Py_ssize_t wanted)
{
    if (got == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments, %zd wanted", got, wanted);
    return 0;
}

static int get_unique(PyObject *value, uint64_t *unique)
{
    *unique = PyLong_AsUnsignedLongLong(value);
    return !PyErr_Occurred();
}

static PyObject *py_reply_error(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    if (!enough(count, 2) || !get_unique(args[0], &unique))
        return NULL;
    long error = PyLong_AsLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    if (error < 0 || error > 511) /* what the kernel takes; 512 and up are its own */
        error = EIO;
    struct iovec iov[1];
    return PyLong_FromLong(send_answer(unique, (int)-error, iov, 1));
}

static PyObject *py_reply_entry(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    struct entry_out entry;
    if (!enough(count, 2) || !get_unique(args[0], &unique) || !get_entry(args[1], &entry))
        return NULL;
    return send_struct(unique, &entry, sizeof entry);
}

/* Answer a lookup: there is no such name, and the kernel need not ask again for some seconds. */
static PyObject *py_reply_missing(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    struct entry_out entry = {0};
    if (!enough(count, 2) || !get_unique(args[0], &unique)
        || !set_timeout(args[1], &entry.entry_valid, &entry.entry_valid_nsec))
        return NULL;
    return send_struct(unique, &entry, sizeof entry);
}

static PyObject *py_reply_attr(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    struct attr_out out = {0};
    if (!enough(count, 2) || !get_unique(args[0], &unique) || !get_attr(args[1], &out.attr)
        || !get_timeout(args[1], &out.attr_valid, &out.attr_valid_nsec))
        return NULL;
    return send_struct(unique, &out, sizeof out);
}

static PyObject *py_reply_statx(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique, seconds;
    struct attr attr;
    struct statx_out out = {0};
    if (!enough(count, 2) || !get_unique(args[0], &unique) || !get_attr(args[1], &attr)
        || !get_timeout(args[1], &out.attr_valid, &out.attr_valid_nsec)
        || !get_time(args[1], BTIME, &seconds, &out.btime.nanoseconds))
        return NULL;
    out.btime.seconds = (int64_t)seconds;
    out.mask = seconds || out.btime.nanoseconds ? 0xfff : 0x7ff; /* STATX_BASIC_STATS, and STATX_BTIME */
    out.blksize = attr.blksize;
    out.nlink = attr.nlink;
    out.uid = attr.uid;
    out.gid = attr.gid;
    out.mode = (uint16_t)attr.mode;
    out.ino = attr.ino;
    out.size = attr.size;
    out.blocks = attr.blocks;
    out.atime = (struct sx_time){(int64_t)attr.atime, attr.atimensec, 0};
    out.mtime = (struct sx_time){(int64_t)attr.mtime, attr.mtimensec, 0};
    out.ctime = (struct sx_time){(int64_t)attr.ctime, attr.ctimensec, 0};
    out.rdev_major = attr.rdev >> 8 & 0xfff; /* as the kernel's new_encode_dev has it */
    out.rdev_minor = (attr.rdev & 0xff) | (attr.rdev >> 12 & 0xfff00);
    return send_struct(unique, &out, sizeof out);
}

static int get_open(PyObject *handle, PyObject *flags, struct open_out *out)
{
    out->fh = PyLong_AsUnsignedLongLong(handle);
    out->open_flags = PyErr_Occurred() ? 0 : (uint32_t)PyLong_AsUnsignedLong(flags);
    out->padding = 0;
    return !PyErr_Occurred();
}

static PyObject *py_reply_open(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    struct open_out out;
    if (!enough(count, 3) || !get_unique(args[0], &unique) || !get_open(args[1], args[2], &out))
        return NULL;
    return send_struct(unique, &out, sizeof out);
}

static PyObject *py_reply_create(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    struct {
        struct entry_out entry;
        struct open_out open;
    } out;
    if (!enough(count, 4) || !get_unique(args[0], &unique) || !get_entry(args[1], &out.entry)
        || !get_open(args[2], args[3], &out.open))
        return NULL;
    return send_struct(unique, &out, sizeof out);
}

static PyObject *py_reply_count(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique;
    uint32_t out[2] = {0, 0};
    if (!enough(count, 2) || !get_unique(args[0], &unique))
        return NULL;
    out[0] = (uint32_t)PyLong_AsUnsignedLong(args[1]);
    return PyErr_Occurred() ? NULL : send_struct(unique, out, sizeof out);
}

/* Answer with what a read gave, parts as they are; nothing is sent if it is more than `limit` bytes. */
static PyObject *reply_parts(uint64_t unique, PyObject *const *parts, Py_ssize_t count, uint64_t limit)
{
    struct iovec iov[PARTS_MAX + 1];
    Py_buffer views[PARTS_MAX];
    uint64_t total = 0;
    Py_ssize_t got = 0;
    PyObject *result = NULL;
    for (; got < count; got++) {
        if (PyObject_GetBuffer(parts[got], &views[got], PyBUF_SIMPLE))
            goto done;
        iov[got + 1].iov_base = views[got].buf;
        iov[got + 1].iov_len = (size_t)views[got].len;
        total += (uint64_t)views[got].len;
    }
    if (total > limit)
        PyErr_Format(PyExc_ValueError, "%llu bytes, %llu were asked for", (unsigned long long)total,
                     (unsigned long long)limit);
    else
        result = PyLong_FromLong(send_answer(unique, 0, iov, (int)count + 1));
done:
    for (Py_ssize_t i = 0; i < got; i++)
        PyBuffer_Release(&views[i]);
    return result;
}

static PyObject *py_reply_data(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique, limit;
    if (!enough(count, 3) || !get_unique(args[0], &unique) || !get_unique(args[2], &limit))
        return NULL;
    if (PyObject_CheckBuffer(args[1]))
        return reply_parts(unique, &args[1], 1, limit);
    PyObject *parts = PySequence_Fast(args[1], "a read gives a buffer or a sequence of buffers");
    if (!parts)
        return NULL;
    PyObject *result;
    if (PySequence_Fast_GET_SIZE(parts) <= PARTS_MAX)
        result = reply_parts(unique, PySequence_Fast_ITEMS(parts), PySequence_Fast_GET_SIZE(parts), limit);
    else {
        PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
        PyObject *joined = empty ? PyObject_CallMethod(empty, "join", "O", parts) : NULL;
        result = joined ? reply_parts(unique, &joined, 1, limit) : NULL;
        Py_XDECREF(joined);
        Py_XDECREF(empty);
    }
    Py_DECREF(parts);
    return result;
}

/* Add one name to a listing; 1: added, 0: does not fit, -1: error. */
static int add_entry(char *memory, size_t size, size_t *used, PyObject *name, const struct entry_out *entry,
                     uint64_t offset)
{
    char *text;
    Py_ssize_t length;
    struct dirent_plus head = {.entry = *entry, .ino = entry->attr.ino, .offset = offset};
    if (PyBytes_AsStringAndSize(name, &text, &length))
        return -1;
    if (length < 1 || length > 1024 || offset > INT64_MAX) {
        PyErr_SetString(PyExc_ValueError, "a listed name or its offset is out of range");
        return -1;
    }
    head.name_size = (uint32_t)length;
    head.type = entry->attr.mode >> 12 & 15;
    size_t padded = (sizeof head + (size_t)length + 7) & ~(size_t)7;
    if (padded > size - *used)
        return 0;
    memcpy(memory + *used, &head, sizeof head);
    memcpy(memory + *used + sizeof head, text, (size_t)length);
    memset(memory + *used + sizeof head + length, 0, padded - sizeof head - (size_t)length);
    *used += padded;
    return 1;
}

/* 1: added and the inode noted in `taken`, 0: full, -1: error */
static int add_listed(char *memory, size_t size, size_t *used, PyObject *item, PyObject *taken)
{
    struct entry_out entry;
    uint64_t offset;
    int added = -1;
    PyObject *name = PyObject_GetAttr(item, names[NAME]);
    PyObject *attributes = name ? PyObject_GetAttr(item, names[ATTRIBUTES]) : NULL;
    if (attributes && get_entry(attributes, &entry) && get_number(item, OFFSET, &offset))
        added = add_entry(memory, size, used, name, &entry, offset);
    if (added == 1) {
        PyObject *ino = PyLong_FromUnsignedLongLong(entry.nodeid);
        if (!ino || PyList_Append(taken, ino))
            added = -1;
        Py_XDECREF(ino);
    }
    Py_XDECREF(name);
    Py_XDECREF(attributes);
    return added;
}

static int add_dots(char *memory, size_t size, size_t *used, PyObject *dots)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dots); i++) {
        struct entry_out nothing = {.attr = {.mode = 0040000}}; /* no inode: nothing is looked up */
        PyObject *name;
        unsigned long long offset;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(dots, i), "SKK", &name, &nothing.attr.ino, &offset))
            return -1;
        int added = add_entry(memory, size, used, name, &nothing, offset);
        if (added != 1)
            return added;
    }
    return 1;
}

/* reply_listing(unique, size, dots, iterable) -> the inodes the kernel was given.
 * dots: a tuple of (name, inode, offset) that come first. */
static PyObject *py_reply_listing(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t unique, size;
    if (!enough(count, 4) || !get_unique(args[0], &unique) || !get_unique(args[1], &size))
        return NULL;
    if (size > REQUEST_MAX || !PyTuple_Check(args[2])) {
        PyErr_SetString(PyExc_ValueError, "a listing this large, or no tuple of dots");
        return NULL;
    }
    char *memory = PyMem_Malloc(size ? size : 1);
    PyObject *taken = PyList_New(0), *items = taken ? PyObject_GetIter(args[3]) : NULL, *item;
    size_t used = 0;
    if (!memory)
        PyErr_NoMemory();
    int added = memory && items ? add_dots(memory, size, &used, args[2]) : -1;
    while (added == 1 && (item = PyIter_Next(items))) {
        added = add_listed(memory, size, &used, item, taken);
        Py_DECREF(item);
    }
    if (!PyErr_Occurred() && added >= 0) {
        struct iovec iov[2] = {{0}, {memory, used}};
        if (send_answer(unique, 0, iov, 2)) /* nobody waits: nothing was given */
            PyList_SetSlice(taken, 0, PyList_GET_SIZE(taken), NULL);
    }
    PyMem_Free(memory);
    Py_XDECREF(items);
    if (PyErr_Occurred())
        Py_CLEAR(taken);
    return taken;
}

/* The one notification there is: nothing here can invalidate what the kernel keeps. */
static PyObject *py_notify_poll(PyObject *self, PyObject *handle)
{
    uint64_t body = PyLong_AsUnsignedLongLong(handle);
    if (PyErr_Occurred())
        return NULL;
    struct iovec iov[2] = {{0}, {&body, sizeof body}};
    return PyLong_FromLong(send_answer(0, 1, iov, 2));
}

PyMethodDef answer_methods[] = {
    {"reply_error", FAST(py_reply_error), METH_FASTCALL, "(unique, errno)"},
    {"reply_entry", FAST(py_reply_entry), METH_FASTCALL, "(unique, attributes)"},
    {"reply_missing", FAST(py_reply_missing), METH_FASTCALL, "(unique, seconds): no such name"},
    {"reply_attr", FAST(py_reply_attr), METH_FASTCALL, "(unique, attributes)"},
    {"reply_statx", FAST(py_reply_statx), METH_FASTCALL, "(unique, attributes)"},
    {"reply_open", FAST(py_reply_open), METH_FASTCALL, "(unique, handle, flags)"},
    {"reply_create", FAST(py_reply_create), METH_FASTCALL, "(unique, attributes, handle, flags)"},
    {"reply_count", FAST(py_reply_count), METH_FASTCALL, "(unique, number)"},
    {"reply_data", FAST(py_reply_data), METH_FASTCALL, "(unique, buffer or buffers, limit)"},
    {"reply_listing", FAST(py_reply_listing), METH_FASTCALL, "(unique, size, dots, listed) -> inodes"},
    {"notify_poll", py_notify_poll, METH_O, "wake who polls with this kernel handle"},
    {0},
};

int prepare_answers(void)
{
    for (int i = 0; i < NAMES; i++)
        if (!names[i] && !(names[i] = PyUnicode_InternFromString(name_texts[i])))
            return 0;
    return 1;
}
