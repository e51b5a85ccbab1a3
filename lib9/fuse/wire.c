#include "wire.h"

#include <string.h>

/* What follows the fixed part of a request. */
enum tail { TAIL_NONE, TAIL_NAME, TAIL_TWO_NAMES, TAIL_NAME_AND_DATA, TAIL_DATA, TAIL_FORGETS };

/* A field of the fixed part: offset and width. A width of 0 ends the list. */
struct field {
    uint8_t offset, width;
};

struct row {
    uint8_t known, fixed_size, tail, data_size_field;
    struct field fields[WIRE_NUMBERS_MAX + 1];
};

#define FH {0, 8}

static const struct row rows[WIRE_OPCODES] = {
    [WIRE_LOOKUP] = {1, 0, TAIL_NAME, 0, {{0, 0}}},
    [WIRE_FORGET] = {1, 8, TAIL_NONE, 0, {{0, 8}}},
    [WIRE_GETATTR] = {1, 16, TAIL_NONE, 0, {{0, 4}, {8, 8}}},
    /* valid, fh, size, atime, mtime, ctime, their nanoseconds, mode, uid, gid */
    [WIRE_SETATTR] = {1, 88, TAIL_NONE, 0,
        {{0, 4}, {8, 8}, {16, 8}, {32, 8}, {40, 8}, {48, 8}, {56, 4}, {60, 4}, {64, 4}, {68, 4}, {76, 4}, {80, 4}}},
    [WIRE_READLINK] = {1, 0, TAIL_NONE, 0, {{0, 0}}},
    [WIRE_SYMLINK] = {1, 0, TAIL_TWO_NAMES, 0, {{0, 0}}},
    [WIRE_MKNOD] = {1, 16, TAIL_NAME, 0, {{0, 4}, {4, 4}, {8, 4}}},         /* mode, rdev, umask */
    [WIRE_MKDIR] = {1, 8, TAIL_NAME, 0, {{0, 4}, {4, 4}}},                  /* mode, umask */
    [WIRE_UNLINK] = {1, 0, TAIL_NAME, 0, {{0, 0}}},
    [WIRE_RMDIR] = {1, 0, TAIL_NAME, 0, {{0, 0}}},
    [WIRE_RENAME] = {1, 8, TAIL_TWO_NAMES, 0, {{0, 8}}},                    /* new parent */
    [WIRE_LINK] = {1, 8, TAIL_NAME, 0, {{0, 8}}},                           /* old inode */
    [WIRE_OPEN] = {1, 8, TAIL_NONE, 0, {{0, 4}, {4, 4}}},                   /* flags, open flags */
    [WIRE_READ] = {1, 40, TAIL_NONE, 0, {FH, {8, 8}, {16, 4}}},             /* fh, offset, size */
    [WIRE_WRITE] = {1, 40, TAIL_DATA, 2, {FH, {8, 8}, {16, 4}, {20, 4}}},   /* and write flags */
    [WIRE_STATFS] = {1, 0, TAIL_NONE, 0, {{0, 0}}},
    [WIRE_RELEASE] = {1, 24, TAIL_NONE, 0, {FH}},
    [WIRE_FSYNC] = {1, 16, TAIL_NONE, 0, {FH, {8, 4}}},                     /* fh, flags */
    [WIRE_SETXATTR] = {1, 8, TAIL_NAME_AND_DATA, 0, {{0, 4}, {4, 4}}},      /* size, flags */
    [WIRE_GETXATTR] = {1, 8, TAIL_NAME, 0, {{0, 4}}},                       /* size */
    [WIRE_LISTXATTR] = {1, 8, TAIL_NONE, 0, {{0, 4}}},
    [WIRE_REMOVEXATTR] = {1, 0, TAIL_NAME, 0, {{0, 0}}},
    [WIRE_FLUSH] = {1, 24, TAIL_NONE, 0, {FH}},
    [WIRE_INIT] = {1, 16, TAIL_NONE, 0, {{0, 4}, {4, 4}, {8, 4}, {12, 4}}}, /* major, minor, read-ahead, flags */
    [WIRE_OPENDIR] = {1, 8, TAIL_NONE, 0, {{0, 4}}},
    [WIRE_RELEASEDIR] = {1, 24, TAIL_NONE, 0, {FH}},
    [WIRE_FSYNCDIR] = {1, 16, TAIL_NONE, 0, {FH, {8, 4}}},
    [WIRE_ACCESS] = {1, 8, TAIL_NONE, 0, {{0, 4}}},
    [WIRE_CREATE] = {1, 16, TAIL_NAME, 0, {{0, 4}, {4, 4}, {8, 4}}},        /* flags, mode, umask */
    [WIRE_INTERRUPT] = {1, 8, TAIL_NONE, 0, {{0, 8}}},                      /* unique */
    [WIRE_POLL] = {1, 24, TAIL_NONE, 0, {FH, {8, 8}, {16, 4}, {20, 4}}},    /* fh, kh, flags, events */
    [WIRE_BATCH_FORGET] = {1, 8, TAIL_FORGETS, 0, {{0, 4}}},                /* count */
    [WIRE_FALLOCATE] = {1, 32, TAIL_NONE, 0, {FH, {8, 8}, {16, 8}, {24, 4}}}, /* offset, length, mode */
    [WIRE_READDIRPLUS] = {1, 40, TAIL_NONE, 0, {FH, {8, 8}, {16, 4}}},      /* fh, offset, size */
    [WIRE_RENAME2] = {1, 16, TAIL_TWO_NAMES, 0, {{0, 8}, {8, 4}}},          /* new parent, flags */
    [WIRE_LSEEK] = {1, 24, TAIL_NONE, 0, {FH, {8, 8}, {16, 4}}},            /* fh, offset, whence */
    /* fh, offset, other inode, its fh, its offset, length, flags */
    [WIRE_COPY_FILE_RANGE] = {1, 56, TAIL_NONE, 0, {FH, {8, 8}, {16, 8}, {24, 8}, {32, 8}, {40, 8}, {48, 8}}},
    [WIRE_TMPFILE] = {1, 16, TAIL_NAME, 0, {{0, 4}, {4, 4}, {8, 4}}},       /* as CREATE */
    [WIRE_STATX] = {1, 24, TAIL_NONE, 0, {{0, 4}, {8, 8}, {16, 4}, {20, 4}}}, /* flags, fh, sx flags, mask */
};

static uint64_t number_at(const uint8_t *at, unsigned width)
{
    uint32_t narrow;
    uint64_t wide;
    if (width == 4) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

/* Take a name that ends with a zero; 0 if there is none. */
static int take_name(const uint8_t **at, size_t *left, struct wire_bytes *name)
{
    const uint8_t *zero = *left ? memchr(*at, 0, *left) : NULL;
    if (!zero)
        return 0;
    name->start = *at;
    name->size = (size_t)(zero - *at);
    *left -= name->size + 1;
    *at = zero + 1;
    return 1;
}

static int take_data(const uint8_t *at, size_t left, uint64_t size, struct wire_bytes *data)
{
    if (size > left)
        return 0;
    data->start = at;
    data->size = (size_t)size;
    return 1;
}

static int take_tail(const struct row *row, const uint8_t *at, size_t left, struct wire_request *request)
{
    switch (row->tail) {
    case TAIL_NAME:
        return take_name(&at, &left, &request->names[0]);
    case TAIL_TWO_NAMES:
        return take_name(&at, &left, &request->names[0]) && take_name(&at, &left, &request->names[1]);
    case TAIL_NAME_AND_DATA:
        return take_name(&at, &left, &request->names[0])
            && take_data(at, left, request->numbers[row->data_size_field], &request->data);
    case TAIL_DATA:
        return take_data(at, left, request->numbers[row->data_size_field], &request->data);
    case TAIL_FORGETS:
        return request->numbers[0] <= left / 16 && take_data(at, left, request->numbers[0] * 16, &request->data);
    default:
        return 1;
    }
}

enum wire_verdict wire_parse(const uint8_t *bytes, size_t size, struct wire_request *request)
{
    memset(request, 0, sizeof *request);
    if (size < WIRE_HEADER_SIZE)
        return WIRE_NO_HEADER;
    request->opcode = (uint32_t)number_at(bytes + 4, 4);
    request->unique = number_at(bytes + 8, 8);
    request->nodeid = number_at(bytes + 16, 8);
    request->uid = (uint32_t)number_at(bytes + 24, 4);
    request->gid = (uint32_t)number_at(bytes + 28, 4);
    request->pid = (uint32_t)number_at(bytes + 32, 4);
    if (number_at(bytes, 4) != size)
        return WIRE_MALFORMED;
    if (request->opcode >= WIRE_OPCODES || !rows[request->opcode].known)
        return WIRE_UNKNOWN;
    const struct row *row = &rows[request->opcode];
    const uint8_t *body = bytes + WIRE_HEADER_SIZE;
    size_t left = size - WIRE_HEADER_SIZE;
    if (left < row->fixed_size)
        return WIRE_MALFORMED;
    for (const struct field *field = row->fields; field->width; field++)
        request->numbers[request->number_count++] = number_at(body + field->offset, field->width);
    if (request->opcode == WIRE_INIT && left >= 20) /* since 7.36: more flags */
        request->numbers[request->number_count++] = number_at(body + 16, 4);
    return take_tail(row, body + row->fixed_size, left - row->fixed_size, request) ? WIRE_OK : WIRE_MALFORMED;
}

int wire_forget_record(const struct wire_request *request, size_t index, uint64_t *nodeid, uint64_t *count)
{
    if (index >= request->data.size / 16)
        return 0;
    *nodeid = number_at(request->data.start + index * 16, 8);
    *count = number_at(request->data.start + index * 16 + 8, 8);
    return 1;
}
