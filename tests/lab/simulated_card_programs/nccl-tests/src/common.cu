#include "common.h"
#include "../verifiable/verifiable.h"
#include "nccl.h"
#include <cstdio>

int run(int words) {
    int version = 0;
    ncclGetVersion(&version);
    printf("SIMULATED all_reduce_perf, NCCL %d\n", version);
    return words > 1 ? 0 : verify(version);
}
