/* Answers to the kernel, and Python's functions that give them. */
#ifndef SPAWNGRID_ANSWERS_H
#define SPAWNGRID_ANSWERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <sys/uio.h>

#define REQUEST_MAX ((1 << 20) + 4096) /* max_write of our INIT answer, and the headers */

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

extern int session_fd; /* -1: no session */
extern PyMethodDef answer_methods[];

/* Write one answer; iov[0] is for the header. Returns an errno; ENOENT: nobody waits for it any more. */
int send_answer(uint64_t unique, int error, struct iovec *iov, int count);
void send_error(uint64_t unique, int error);

/* Once, before any of the methods; 0: an exception is set. */
int prepare_answers(void);

#endif
