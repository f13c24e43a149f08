# How all_reduce_perf of nccl-tests is built, for one machine: without MPI, with the box's own NCCL.
cmake_minimum_required(VERSION 3.22) # not 3.25: that asks for nvToolsExt, which CUDA 13 has no more
project(nccl_tests LANGUAGES CXX CUDA)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CUDA_STANDARD 17)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

# What all collectives share: files come and go with releases.
file(GLOB common src/common.cu src/util.cu src/timer.cc)
add_executable(all_reduce_perf src/all_reduce.cu ${common} verifiable/verifiable.cu)
target_include_directories(all_reduce_perf PRIVATE ${CMAKE_SOURCE_DIR}/nccl ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/verifiable)
target_link_libraries(all_reduce_perf PRIVATE ${CMAKE_SOURCE_DIR}/nccl/libnccl.so.2 CUDA::cuda_driver)
