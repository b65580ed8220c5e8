import ctypes

import pytest
import torch

from trainable.machine.device import MEMORY_SHORT, is_memory_short, release_memory, too_short

SHORT = (
    # PyTorch on a GPU and on a CPU
    "CUDA out of memory. Tried to allocate 2.87 GiB. GPU 0 has a total capacity of 14.76 GiB of which 19 MiB is free",
    "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "132426121216 bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at CPUAllocator.cpp:73] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
    "unable to mmap 29764 bytes from file </torch_10182_3020184674_63991>: Cannot allocate memory (12)",
    "std::bad_alloc",
    # the CUDA runtime and driver
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    "CUDA driver error: out of memory",
    "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY",
    "CUDA error: cudaErrorMemoryAllocation",
    # cuDNN, before and from 9 on
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "GET was unable to find an engine to execute this computation",
    "FIND was unable to find an engine to execute this computation",
    "Unable to find a valid cuDNN algorithm to run convolution",
    # cuBLAS, cuSOLVER, cuFFT
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    # NCCL
    "NCCL error in: NCCLUtils.hpp:275, unhandled cuda error, NCCL version 2.20.5\nncclUnhandledCudaError: Call to CUDA "
    "function failed.\nLast error:\nCuda failure 2 'out of memory'",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA malloc 4194304 bytes",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA calloc async 608 bytes",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA host alloc 8 bytes",
)

OTHERS = (
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`",
    "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in https://docs.nvidia.com",
    "CUDA error: misaligned address",
    "CUDA error: too many resources requested for launch",
    "CUDA error: device-side assert triggered",
    "out of resource: shared memory, Required: 131072, Hardware limit: 101376",
    "libgomp.so.1: cannot allocate memory in static TLS block",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 1 'invalid argument'",
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
)


@pytest.mark.parametrize("message", SHORT)
def test_memory_that_is_short_is_known_in_all_its_words(message):
    assert is_memory_short(RuntimeError(message))


def test_every_word_is_said_by_somebody():
    assert [text for text in MEMORY_SHORT if not any(text in message.lower() for message in SHORT)] == []


@pytest.mark.parametrize("message", OTHERS)
def test_other_errors_are_not_taken_for_it(message):
    assert not is_memory_short(RuntimeError(message))


def test_error_of_the_accelerator_tells_by_its_words():
    assert is_memory_short(torch.AcceleratorError("CUDA error: out of memory"))
    assert not is_memory_short(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))


def test_class_of_an_error_is_enough_and_counts():
    assert is_memory_short(torch.OutOfMemoryError("")) and is_memory_short(MemoryError())
    assert not is_memory_short(OSError(12, "Cannot allocate memory (12)"))  # the machine's: another attempt may succeed


def test_error_without_a_word_is_told_by_its_name(tiny_config):
    assert str(too_short(tiny_config, "one photo", MemoryError())).endswith("then MemoryError")


def test_memory_is_released_where_the_c_library_can_and_nothing_fails_where_it_cannot(monkeypatch):
    release_memory()

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    release_memory()
