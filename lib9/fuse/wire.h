/* The kernel's FUSE requests as numbers, names and data: parsing only, no Python, no libfuse.
 *
 * Nothing is read before it is known to lie inside the request. Host byte order, as /dev/fuse has it.
 * Source: the kernel's stable ABI, include/uapi/linux/fuse.h, protocol 7.
 */
#ifndef SPAWNGRID_WIRE_H
#define SPAWNGRID_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_opcode {
    WIRE_LOOKUP = 1, WIRE_FORGET = 2, WIRE_GETATTR = 3, WIRE_SETATTR = 4, WIRE_READLINK = 5,
    WIRE_SYMLINK = 6, WIRE_MKNOD = 8, WIRE_MKDIR = 9, WIRE_UNLINK = 10, WIRE_RMDIR = 11,
    WIRE_RENAME = 12, WIRE_LINK = 13, WIRE_OPEN = 14, WIRE_READ = 15, WIRE_WRITE = 16,
    WIRE_STATFS = 17, WIRE_RELEASE = 18, WIRE_FSYNC = 20, WIRE_SETXATTR = 21, WIRE_GETXATTR = 22,
    WIRE_LISTXATTR = 23, WIRE_REMOVEXATTR = 24, WIRE_FLUSH = 25, WIRE_INIT = 26, WIRE_OPENDIR = 27,
    WIRE_RELEASEDIR = 29, WIRE_FSYNCDIR = 30, WIRE_ACCESS = 34, WIRE_CREATE = 35,
    WIRE_INTERRUPT = 36, WIRE_POLL = 40, WIRE_BATCH_FORGET = 42, WIRE_FALLOCATE = 43,
    WIRE_READDIRPLUS = 44, WIRE_RENAME2 = 45, WIRE_LSEEK = 46, WIRE_COPY_FILE_RANGE = 47,
    WIRE_TMPFILE = 51, WIRE_STATX = 52,
    WIRE_OPCODES = 64
};

#define WIRE_NUMBERS_MAX 12
#define WIRE_HEADER_SIZE 40

struct wire_bytes {
    const uint8_t *start; /* NULL: not part of this request */
    size_t size;
};

struct wire_request {
    uint32_t opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid;
    unsigned number_count;
    uint64_t numbers[WIRE_NUMBERS_MAX]; /* the fields of the opcode's row in wire.c, in its order */
    struct wire_bytes names[2];         /* without their final zero */
    struct wire_bytes data;             /* what is written; the records of BATCH_FORGET */
};

enum wire_verdict {
    WIRE_OK = 0,
    WIRE_UNKNOWN = 1,   /* no row for this opcode: only the header is filled in */
    WIRE_MALFORMED = 2, /* lengths do not fit; the header is filled in if there is one */
    WIRE_NO_HEADER = 3
};

/* Parse the `size` bytes of one request. The result points into `bytes`. */
enum wire_verdict wire_parse(const uint8_t *bytes, size_t size, struct wire_request *request);

/* The record `index` of BATCH_FORGET; 0 if there is none. */
int wire_forget_record(const struct wire_request *request, size_t index, uint64_t *nodeid, uint64_t *count);

#endif
