#include "verifiable.h"
__global__ void check(int *a) { *a = 1; }
int verify(int value) {
    check<<<1, 1>>>(nullptr);
    return value;
}
