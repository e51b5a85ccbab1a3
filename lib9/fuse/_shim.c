/* Every FUSE request, seen before libfuse sees it, and answers that libfuse cannot give.
 *
 * Loaded with RTLD_GLOBAL before pyfuse3, so that pyfuse3's undefined symbols fuse_session_new,
 * fuse_session_receive_buf and fuse_session_process_buf bind to the ones here. Relied on: the kernel's
 * wire format, four prototypes and the public struct fuse_buf of libfuse, unchanged since 3.0.
 *
 * A request that Python takes over is not given to libfuse. Its handler, a coroutine, is run by `serve` in the
 * task that looks for requests. Where it waits, libfuse gets a FORGET, which needs no answer; pyfuse3 calls
 * its `forget` handler for it and awaits what that returns. `take` is that handler: it returns the rest of the
 * coroutine. So handlers run in pyfuse3's tasks, and may wait.
 *
 * wire.c parses requests, answers.c makes answers. All functions run under the GIL, in the thread of the
 * event loop. Compiled with hidden visibility: what is global here is seen by the whole process.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "answers.h"
#include "sources.h"
#include "wire.h"

#define EXPORT __attribute__((visibility("default")))
#define COPY_MAX 16384                 /* data up to here is copied into bytes: cheaper than a view */
#define WINDOW 64                       /* requests from one report of vain looks to the next */
#define BARE_BITS 12                   /* of them 4,096 are known: 32 KiB */
#define ROOT_ID 1

struct fuse_session;
struct fuse_buf {
    size_t size;
    int flags;
    void *mem;
    int fd;
    off_t pos;
};

static struct fuse_session *session;
static int active;                          /* requests are taken over; else all goes to libfuse */
static PyObject *handlers[WIRE_OPCODES];    /* coroutine functions; NULL: libfuse and pyfuse3 do it */
static int answers[WIRE_OPCODES];           /* an errno that is answered at once; 0: none */
static PyObject *on_init, *on_interrupt, *on_forget, *on_wait, *on_failure, *caller_class;
static unsigned long long counts[WIRE_OPCODES];
static PyObject *request_buffer;            /* a bytearray; replaced while someone holds a view of it */
static ssize_t request_size;                /* of a request that `fill` has read already; else 0 */
static size_t foreign_size;                 /* of a request that is left to libfuse; else 0 */
static int request_error;
static PyObject *pending;                   /* what is left of a handler that waits, for pyfuse3 to await */
static PyObject *on_window;                 /* told of vain looks, every WINDOW requests; NULL: nobody wants to know */
static unsigned window_size, window_missed;
static uint64_t bare[1 << BARE_BITS];       /* inodes without capabilities: asked before every chown and first write */
static PyObject *last_caller;
static uint32_t last_uid, last_gid, last_pid;

enum outcome { DONE, WAITS, NOT_OURS, FAILED }; /* FAILED: an exception is set */

/* ---- the real libfuse, wherever pyfuse3 got it from ---- */

static int is_libfuse(struct dl_phdr_info *info, size_t size, void *found)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    (void)size;
    if (strncmp(slash ? slash + 1 : info->dlpi_name, "libfuse3", 8) != 0)
        return 0;
    *(const char **)found = info->dlpi_name;
    return 1;
}

static void *real(const char *name)
{
    static void *library;
    if (!library) {
        const char *path = NULL;
        dl_iterate_phdr(is_libfuse, &path);
        library = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    }
    return library ? dlsym(library, name) : NULL;
}

typedef struct fuse_session *new_function(void *, const void *, size_t, void *);
typedef struct fuse_session *new_versioned_function(void *, const void *, size_t, void *, void *);
typedef int receive_function(struct fuse_session *, struct fuse_buf *);
typedef void process_function(struct fuse_session *, const struct fuse_buf *);
typedef int fd_function(struct fuse_session *);
typedef void exit_function(struct fuse_session *);

EXPORT struct fuse_session *fuse_session_new(void *arguments, const void *ops, size_t size, void *data)
{
    new_function *make = (new_function *)real("fuse_session_new");
    session_fd = -1;
    return session = make ? make(arguments, ops, size, data) : NULL;
}

/* What a pyfuse3 that was compiled against libfuse 3.17 or later calls instead. */
EXPORT struct fuse_session *fuse_session_new_versioned(void *arguments, const void *ops, size_t size,
                                                       void *version, void *data)
{
    new_versioned_function *make = (new_versioned_function *)real("fuse_session_new_versioned");
    session_fd = -1;
    return session = make ? make(arguments, ops, size, version, data) : NULL;
}

/* ---- receiving ---- */

static int find_fd(void)
{
    if (session_fd < 0 && session) {
        fd_function *get = (fd_function *)real("fuse_session_fd");
        session_fd = get ? get(session) : -1;
    }
    return session_fd;
}

static int fresh_buffer(void)
{
    if (request_buffer && Py_REFCNT(request_buffer) == 1)
        return 1;
    Py_XDECREF(request_buffer);
    request_buffer = PyByteArray_FromStringAndSize(NULL, REQUEST_MAX);
    return request_buffer != NULL;
}

static int is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOENT; /* the last: it was withdrawn */
}

/* Wait once, for as long as `patience_us` says; 1: there may be a request. */
static int wait_for(int fd, int *patience_us)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    struct timespec limit = {.tv_nsec = *patience_us * 1000L};
    *patience_us = 0;
    return ppoll(&one, 1, &limit, NULL) > 0;
}

/* Look up to `times` times for a request, and wait for one up to `patience_us` microseconds if there is none.
 * 1: `request_size` or `request_error` is set. */
static int fill(int times, int patience_us)
{
    int fd = find_fd();
    if (request_size || request_error)
        return 1;
    if (fd < 0 || !fresh_buffer())
        return 0;
    char *memory = PyByteArray_AS_STRING(request_buffer);
    ssize_t got = -1;
    int error = EAGAIN;
    Py_BEGIN_ALLOW_THREADS
    do {
        got = read(fd, memory, REQUEST_MAX);
        error = got < 0 ? errno : 0;
    } while (is_passing(error) && (--times > 0 || (patience_us && wait_for(fd, &patience_us))));
    Py_END_ALLOW_THREADS
    window_missed += times <= 0;
    if (got > 0)
        request_size = got;
    else if (is_passing(error))
        return 0;
    else
        request_error = error ? error : ENODEV;
    return 1;
}

static void call_quietly(PyObject *function, const char *format, uint64_t first, uint64_t second)
{
    PyObject *result = PyObject_CallFunction(function, format, (unsigned long long)first, (unsigned long long)second);
    if (!result)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(result);
}

/* What `serve` has left for pyfuse3 stays where it is; process_buf follows at once, in the same task. */
EXPORT int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buffer)
{
    if (!active) {
        receive_function *receive = (receive_function *)real("fuse_session_receive_buf");
        return receive ? receive(se, buffer) : -EIO;
    }
    if (pending || foreign_size)
        return 1;
    if (!request_error)
        return -EINTR; /* pyfuse3 then waits and comes again */
    int error = request_error;
    request_error = 0;
    if (error != ENODEV)
        return -error;
    exit_function *leave = (exit_function *)real("fuse_session_exit"); /* unmounted, or aborted */
    if (leave)
        leave(se);
    PyGILState_STATE gil = PyGILState_Ensure();
    call_quietly(on_interrupt, "K", 0, 0);
    PyGILState_Release(gil);
    return 0;
}

/* ---- dispatching ---- */

static int is_silent(uint32_t opcode)
{
    return opcode == WIRE_FORGET || opcode == WIRE_BATCH_FORGET || opcode == WIRE_INTERRUPT;
}

static uint64_t *bare_slot(uint64_t nodeid)
{
    return &bare[nodeid * 0x9E3779B97F4A7C15u >> (64 - BARE_BITS)];
}

static void not_bare(uint64_t nodeid)
{
    uint64_t *slot = bare_slot(nodeid);
    if (*slot == nodeid)
        *slot = 0;
}

static int is_capability(const struct wire_bytes *name)
{
    static const char capability[] = "security.capability";
    return name->size == sizeof capability - 1 && memcmp(name->start, capability, name->size) == 0;
}

static void forget_one(uint64_t nodeid, uint64_t count)
{
    not_bare(nodeid);
    call_quietly(on_forget, "KK", nodeid, count);
}

static void forget(const struct wire_request *request)
{
    uint64_t nodeid, count;
    if (request->opcode == WIRE_FORGET)
        forget_one(request->nodeid, request->numbers[0]);
    else
        for (size_t i = 0; wire_forget_record(request, i, &nodeid, &count); i++)
            forget_one(nodeid, count);
}

static PyObject *caller_of(const struct wire_request *request)
{
    if (!last_caller || request->uid != last_uid || request->gid != last_gid || request->pid != last_pid) {
        PyObject *made = PyObject_CallFunction(caller_class, "III", request->uid, request->gid, request->pid);
        if (!made)
            return NULL;
        Py_XSETREF(last_caller, made);
        last_uid = request->uid;
        last_gid = request->gid;
        last_pid = request->pid;
    }
    return Py_NewRef(last_caller);
}

/* Bytes, or for much data a view of the buffer, which is then not used again while the view lives. */
static PyObject *data_of(const struct wire_bytes *data)
{
    if (data->size <= COPY_MAX)
        return PyBytes_FromStringAndSize((const char *)data->start, (Py_ssize_t)data->size);
    Py_ssize_t start = (const char *)data->start - PyByteArray_AS_STRING(request_buffer);
    PyObject *all = PyMemoryView_FromObject(request_buffer);
    PyObject *part = all ? PySequence_GetSlice(all, start, start + (Py_ssize_t)data->size) : NULL;
    Py_XDECREF(all);
    return part;
}

/* handler(unique, caller, inode, number..., name..., data) */
static PyObject *call_handler(const struct wire_request *request)
{
    PyObject *arguments[3 + WIRE_NUMBERS_MAX + 3];
    size_t count = 0;
    arguments[count++] = PyLong_FromUnsignedLongLong(request->unique);
    arguments[count++] = caller_of(request);
    arguments[count++] = PyLong_FromUnsignedLongLong(request->nodeid);
    for (unsigned i = 0; i < request->number_count; i++)
        arguments[count++] = PyLong_FromUnsignedLongLong(request->numbers[i]);
    for (int i = 0; i < 2 && request->names[i].start; i++)
        arguments[count++] = PyBytes_FromStringAndSize((const char *)request->names[i].start,
                                                       (Py_ssize_t)request->names[i].size);
    if (request->data.start)
        arguments[count++] = data_of(&request->data);
    PyObject *result = NULL;
    int complete = 1;
    for (size_t i = 0; i < count; i++)
        complete = complete && arguments[i];
    if (complete)
        result = PyObject_Vectorcall(handlers[request->opcode], arguments, count, NULL);
    for (size_t i = 0; i < count; i++)
        Py_XDECREF(arguments[i]);
    return result;
}

static PyObject *call_init(const struct wire_request *request)
{
    unsigned long long high = request->number_count > 4 ? request->numbers[4] : 0;
    return PyObject_CallFunction(on_init, "IIIK", (unsigned)request->numbers[0], (unsigned)request->numbers[1],
                                 (unsigned)request->numbers[2],
                                 (unsigned long long)request->numbers[3] | high << 32);
}

/* Answer INIT ourselves. libfuse initialises from the same bytes; its own, late answer is ignored. */
static void answer_init(const struct wire_request *request)
{
    Py_buffer view;
    PyObject *answer = call_init(request);
    if (!answer || PyObject_GetBuffer(answer, &view, PyBUF_SIMPLE)) {
        PyErr_WriteUnraisable(on_init);
        send_error(request->unique, EPROTO);
    } else {
        struct iovec iov[2] = {{0}, {view.buf, (size_t)view.len}};
        send_answer(request->unique, 0, iov, 2);
        PyBuffer_Release(&view);
    }
    Py_XDECREF(answer);
}

/* Give libfuse a request that needs no answer, so that pyfuse3 awaits what `take` returns. */
static void carry(struct fuse_session *se, process_function *process)
{
    struct {
        uint32_t len, opcode;
        uint64_t unique, nodeid;
        uint32_t uid, gid, pid, extension;
        uint64_t count;
    } carrier = {.len = sizeof carrier, .opcode = WIRE_FORGET, .nodeid = ROOT_ID};
    struct fuse_buf buffer = {.size = sizeof carrier, .mem = &carrier, .fd = -1};
    process(se, &buffer);
    if (pending) { /* not taken: the coroutine will never run */
        PyErr_SetString(PyExc_RuntimeError, "pyfuse3 did not take the request");
        PyErr_WriteUnraisable(pending);
        Py_CLEAR(pending);
    }
}

/* Let Python answer for the exception that a handler raised; what is no Exception goes on. */
static enum outcome fail(const struct wire_request *request)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return FAILED;
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    if (trace)
        PyException_SetTraceback(error, trace);
    PyObject *told = PyObject_CallFunction(on_failure, "KIO", (unsigned long long)request->unique,
                                           request->opcode, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    Py_XDECREF(told);
    return told ? DONE : FAILED;
}

/* Run a handler until it is done or waits for the first time; then the rest of it is `pending`. */
static enum outcome call(const struct wire_request *request)
{
    PyObject *said = NULL, *coroutine = call_handler(request);
    PySendResult sent = coroutine ? PyIter_Send(coroutine, Py_None, &said) : PYGEN_ERROR;
    enum outcome outcome = DONE;
    if (sent == PYGEN_NEXT) {
        pending = PyObject_CallFunction(on_wait, "OOKI", coroutine, said, (unsigned long long)request->unique,
                                        request->opcode);
        outcome = pending ? WAITS : FAILED;
    } else if (sent == PYGEN_ERROR) {
        outcome = fail(request);
    }
    Py_XDECREF(said);
    Py_XDECREF(coroutine);
    return outcome;
}

static enum outcome dispatch(const struct wire_request *request)
{
    uint32_t opcode = request->opcode;
    if (opcode == WIRE_FORGET || opcode == WIRE_BATCH_FORGET) {
        forget(request);
        return DONE;
    }
    if (opcode == WIRE_INTERRUPT) {
        call_quietly(on_interrupt, "K", request->numbers[0], 0);
        return DONE;
    }
    if (answers[opcode]) {
        send_error(request->unique, answers[opcode]);
        return DONE;
    }
    if (opcode == WIRE_GETXATTR && is_capability(&request->names[0]) && *bare_slot(request->nodeid) == request->nodeid) {
        send_error(request->unique, ENODATA);
        return DONE;
    }
    return handlers[opcode] ? call(request) : NOT_OURS;
}

/* Count the requests, and tell from time to time how many of them were looked for in vain at first. */
static void count_window(void)
{
    if (++window_size < WINDOW)
        return;
    call_quietly(on_window, "K", window_missed, 0);
    window_size = window_missed = 0;
}

/* Do what the request in request_buffer asks for. NOT_OURS leaves it there for libfuse. */
static enum outcome answer(void)
{
    struct wire_request request;
    PyObject *held = Py_NewRef(request_buffer); /* a handler may let another request be read */
    size_t size = (size_t)request_size;
    request_size = 0;
    enum wire_verdict verdict = wire_parse((const uint8_t *)PyByteArray_AS_STRING(held), size, &request);
    enum outcome outcome = NOT_OURS;
    if (verdict != WIRE_NO_HEADER && request.opcode < WIRE_OPCODES)
        counts[request.opcode]++;
    if (verdict == WIRE_MALFORMED) {
        if (!is_silent(request.opcode))
            send_error(request.unique, EINVAL);
        outcome = DONE;
    } else if (verdict == WIRE_NO_HEADER) {
        outcome = DONE;
    } else if (verdict == WIRE_OK) {
        if (on_window && !is_silent(request.opcode))
            count_window();
        if (request.opcode == WIRE_INIT)
            answer_init(&request);
        else
            outcome = dispatch(&request);
    }
    if (outcome == NOT_OURS)
        foreign_size = size;
    Py_DECREF(held);
    return outcome;
}

/* After receive_buf: hand on what waits, or what is libfuse's. */
EXPORT void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buffer)
{
    process_function *process = (process_function *)real("fuse_session_process_buf");
    if (!process)
        return;
    if (!active) {
        process(se, buffer);
        return;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    if (pending) {
        carry(se, process);
    } else if (foreign_size) {
        struct fuse_buf whole = {.size = foreign_size, .mem = PyByteArray_AS_STRING(request_buffer), .fd = -1};
        foreign_size = 0;
        PyObject *held = Py_NewRef(request_buffer);
        process(se, &whole);
        Py_DECREF(held);
    }
    PyGILState_Release(gil);
}

/* ---- what Python calls ---- */

static PyObject *py_take(PyObject *self, PyObject *forgotten)
{
    if (!pending) {
        PyErr_SetString(PyExc_RuntimeError, "no request to take");
        return NULL;
    }
    PyObject *taken = pending;
    pending = NULL;
    return taken;
}

/* serve(requests, looks, patience_us): answer up to so many requests that come one after the other.
 * -> whether pyfuse3 has something to do: a handler that waits, a request for libfuse, the end. */
static PyObject *py_serve(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    long numbers[3];
    for (int i = 0; i < 3; i++) {
        numbers[i] = i < count ? PyLong_AsLong(args[i]) : 0;
        if (PyErr_Occurred())
            return NULL;
    }
    while (active && numbers[0]-- > 0) {
        if (!fill((int)numbers[1], (int)numbers[2]))
            break;
        if (request_error)
            Py_RETURN_TRUE;
        enum outcome outcome = answer();
        if (outcome == FAILED)
            return NULL;
        if (outcome != DONE)
            Py_RETURN_TRUE;
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
}

static PyObject *py_activate(PyObject *self, PyObject *args)
{
    PyObject *init, *interrupt, *forgotten, *wait, *failure, *caller;
    if (!PyArg_ParseTuple(args, "OOOOOO", &init, &interrupt, &forgotten, &wait, &failure, &caller))
        return NULL;
    Py_XSETREF(on_init, Py_NewRef(init));
    Py_XSETREF(on_interrupt, Py_NewRef(interrupt));
    Py_XSETREF(on_forget, Py_NewRef(forgotten));
    Py_XSETREF(on_wait, Py_NewRef(wait));
    Py_XSETREF(on_failure, Py_NewRef(failure));
    Py_XSETREF(caller_class, Py_NewRef(caller));
    request_size = request_error = 0;
    foreign_size = 0;
    memset(bare, 0, sizeof bare);
    active = 1;
    Py_RETURN_NONE;
}

static PyObject *py_deactivate(PyObject *self, PyObject *unused)
{
    active = 0;
    session = NULL;
    session_fd = -1;
    for (int i = 0; i < WIRE_OPCODES; i++) {
        Py_CLEAR(handlers[i]);
        answers[i] = 0;
    }
    Py_CLEAR(on_init);
    Py_CLEAR(on_interrupt);
    Py_CLEAR(on_forget);
    Py_CLEAR(on_wait);
    Py_CLEAR(on_failure);
    Py_CLEAR(on_window);
    Py_CLEAR(caller_class);
    Py_CLEAR(last_caller);
    Py_CLEAR(request_buffer);
    Py_RETURN_NONE;
}

static PyObject *py_watch(PyObject *self, PyObject *watcher)
{
    Py_XSETREF(on_window, watcher == Py_None ? NULL : Py_NewRef(watcher));
    window_size = window_missed = 0;
    Py_RETURN_NONE;
}

static PyObject *py_bare(PyObject *self, PyObject *ino)
{
    uint64_t nodeid = PyLong_AsUnsignedLongLong(ino);
    if (PyErr_Occurred())
        return NULL;
    *bare_slot(nodeid) = nodeid;
    Py_RETURN_NONE;
}

static PyObject *py_not_bare(PyObject *self, PyObject *ino)
{
    uint64_t nodeid = PyLong_AsUnsignedLongLong(ino);
    if (PyErr_Occurred())
        return NULL;
    not_bare(nodeid);
    Py_RETURN_NONE;
}

static PyObject *py_handle(PyObject *self, PyObject *args)
{
    unsigned opcode;
    PyObject *handler;
    if (!PyArg_ParseTuple(args, "IO", &opcode, &handler))
        return NULL;
    if (opcode >= WIRE_OPCODES || is_silent(opcode) || opcode == WIRE_INIT)
        return PyErr_Format(PyExc_ValueError, "opcode %u", opcode);
    answers[opcode] = 0;
    if (PyLong_Check(handler)) {
        Py_CLEAR(handlers[opcode]);
        answers[opcode] = (int)PyLong_AsLong(handler);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    Py_XSETREF(handlers[opcode], Py_NewRef(handler));
    Py_RETURN_NONE;
}

static PyObject *py_bound(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(session && find_fd() >= 0 && real("fuse_session_receive_buf")
                           && real("fuse_session_process_buf") && real("fuse_session_exit"));
}

static PyObject *py_counts(PyObject *self, PyObject *unused)
{
    PyObject *all = PyDict_New();
    for (int i = 0; all && i < WIRE_OPCODES; i++) {
        if (!counts[i])
            continue;
        PyObject *key = PyLong_FromLong(i), *value = PyLong_FromUnsignedLongLong(counts[i]);
        if (!key || !value || PyDict_SetItem(all, key, value))
            Py_CLEAR(all);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return all;
}

static PyMethodDef methods[] = {
    {"activate", py_activate, METH_VARARGS, "activate(on_init, on_interrupt, on_forget, on_wait, on_failure, caller)"},
    {"deactivate", py_deactivate, METH_NOARGS, "all requests go to libfuse again"},
    {"handle", py_handle, METH_VARARGS, "handle(opcode, coroutine function | errno)"},
    {"bound", py_bound, METH_NOARGS, "whether pyfuse3's session went through here"},
    {"counts", py_counts, METH_NOARGS, "{opcode: requests seen}"},
    {"serve", FAST(py_serve), METH_FASTCALL, "serve(requests, looks, patience_us) -> whether pyfuse3 has to"},
    {"bare", py_bare, METH_O, "bare(inode): it has no capabilities, until not_bare or forgotten"},
    {"not_bare", py_not_bare, METH_O, "not_bare(inode): it may have capabilities now"},
    {"watch", py_watch, METH_O, "watch(callable(missed) | None): how many looks were in vain"},
    {"take", py_take, METH_O, "the coroutine of the request being dispatched"},
    {0},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_shim", "Between pyfuse3 and libfuse.", -1, methods};

PyMODINIT_FUNC PyInit__shim(void)
{
    PyObject *made = prepare_answers() ? PyModule_Create(&module) : NULL;
    if (made && (PyModule_AddFunctions(made, answer_methods)
                 || PyModule_AddStringConstant(made, "sources", SHIM_SOURCES)))
        Py_CLEAR(made);
    return made;
}
