// SIMULATED: of the shape of gpu-burn, and not gpu-burn.
#include <cstdio>
#include <cstring>

int main(int argc, char **argv) {
    printf("SIMULATED gpu_burn\n");
    return argc > 1 && !strcmp(argv[1], "-h") ? 0 : 1;
}
