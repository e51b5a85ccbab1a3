/* Feeds wire.c: reads (length, bytes) records, gives each to wire_parse in a buffer of exactly that size, and
 * says what came of it. Every byte of the result is touched, so that AddressSanitizer sees a wrong bound. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../lib9/fuse/wire.h"

static unsigned long sum(const struct wire_bytes *part)
{
    unsigned long total = 0;
    for (size_t i = 0; part->start && i < part->size; i++)
        total += part->start[i];
    return total;
}

int main(void)
{
    uint32_t size;
    struct wire_request request;
    uint64_t nodeid, count;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        uint8_t *bytes = malloc(size);
        if (size && (!bytes || fread(bytes, size, 1, stdin) != 1))
            return 2;
        int verdict = wire_parse(bytes, size, &request);
        printf("%d %u", verdict, request.opcode);
        for (unsigned i = 0; i < request.number_count; i++)
            printf(" %" PRIu64, request.numbers[i]);
        unsigned long total = sum(&request.names[0]) + sum(&request.names[1]) + sum(&request.data);
        if (verdict == WIRE_OK)
            printf(" | %zu %zu %zu", request.names[0].size, request.names[1].size, request.data.size);
        if (verdict == WIRE_OK && request.opcode == WIRE_BATCH_FORGET)
            for (size_t i = 0; wire_forget_record(&request, i, &nodeid, &count); i++)
                total += nodeid + count;
        printf(" = %lu\n", total);
        free(bytes);
    }
    return 0;
}
