// SIMULATED: of the shape of nccl-tests, and not nccl-tests.
#include "common.h"
#include "nccl.h"
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 0)
#include "nccl_device.h"
#endif

int main(int argc, char **argv) { return run(argc); }
