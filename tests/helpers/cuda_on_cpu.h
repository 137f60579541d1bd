// Runs CUDA kernels on the CPU, one block after the other, for tests of their arithmetic, their indices and their barriers.
//
// The threads of a block are fibers: each runs until it waits, at __syncthreads() or in a warp shuffle, or ends. A warp is
// run as far as it can go before the next one gets its turn, in ascending or descending order, both of which a GPU may
// choose: a kernel that lacks a barrier then reads what a hurrying warp has already overwritten, or what a late one has not
// yet written, and its result is wrong in one of the orders. A wait that cannot end is an error, as is a wait that some
// threads of the warp or block never join.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static  // blocks run one after the other, so one copy serves them all

using std::erf, std::exp, std::log, std::sqrt, std::tanh;

struct Place {
    unsigned x, y, z;
};
Place threadIdx, blockIdx, blockDim, gridDim;

namespace cpu {

constexpr int WARP = 32;
constexpr size_t STACK = 1 << 16;

enum State { READY, AT_SHUFFLE, AT_BARRIER, DONE };

struct Fiber {
    ucontext_t start;  // on its own stack
    bool started;
    jmp_buf place;  // where it waits, once started: jumps need no system call, unlike swapcontext
    std::vector<char> stack = std::vector<char>(STACK);
    State state;
    char exchanged[8];  // what the thread offers the others of its warp
};

std::vector<Fiber> fibers;
jmp_buf scheduler;
int current;        // the thread that runs
int threads;        // of the block
const char* error;  // of the launch, or null
void (*body)();     // what each thread does
void* body_args;

void run_body() {
    body();
    fibers[current].state = DONE;
    _longjmp(scheduler, 1);
}

void wait(State state) {
    fibers[current].state = state;
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

void resume(int thread) {
    current = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    if (_setjmp(scheduler)) return;  // the thread has come to a wait or to its end
    if (fibers[thread].started) _longjmp(fibers[thread].place, 1);
    fibers[thread].started = true;
    setcontext(&fibers[thread].start);
}

bool all_in(State state, int first, int last) {
    for (int t = first; t < last; t++)
        if (fibers[t].state != state) return false;
    return true;
}

void set_ready(int first, int last) {
    for (int t = first; t < last; t++) fibers[t].state = READY;
}

// Run the threads [first, last) of a warp until all of them have ended or wait for the rest of the block.
void run_warp(int first, int last, bool descending) {
    while (!error) {
        for (int i = first; i < last; i++) {
            const int t = descending ? first + last - 1 - i : i;
            if (fibers[t].state == READY) resume(t);
        }
        if (!all_in(AT_SHUFFLE, first, last)) break;
        set_ready(first, last);
    }
    for (int t = first; t < last; t++)
        if (fibers[t].state == AT_SHUFFLE && !error) error = "a shuffle that not every thread of the warp has joined";
}

void run_block(bool descending) {
    for (int t = 0; t < threads; t++) {
        Fiber& fiber = fibers[t];
        fiber.started = false;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = STACK;
        makecontext(&fiber.start, run_body, 0);
    }
    set_ready(0, threads);
    const int warps = (threads + WARP - 1) / WARP;
    while (!error) {
        for (int i = 0; i < warps; i++) {
            const int warp = descending ? warps - 1 - i : i;
            run_warp(warp * WARP, std::min((warp + 1) * WARP, threads), descending);
        }
        if (all_in(DONE, 0, threads)) return;
        if (!all_in(AT_BARRIER, 0, threads) && !error) error = "a __syncthreads() that not every thread of the block has joined";
        set_ready(0, threads);
    }
}

const char* launch(Place grid, Place block, bool descending) {
    gridDim = grid, blockDim = block, threads = block.x * block.y * block.z, error = nullptr;
    if (fibers.size() < size_t(threads)) fibers.resize(threads);
    const long long blocks = 1ll * grid.x * grid.y * grid.z;
    for (long long i = 0; i < blocks && !error; i++) {
        const long long b = descending ? blocks - 1 - i : i;
        blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
        run_block(descending);
    }
    return error;
}

// What a kernel declares its arguments to be, for the caller to be held to.
template <class T> constexpr const char* NAME = nullptr;
template <> constexpr const char* NAME<float*> = "float32*";
template <> constexpr const char* NAME<const float*> = "const float32*";
template <> constexpr const char* NAME<double*> = "float64*";
template <> constexpr const char* NAME<const double*> = "const float64*";
template <> constexpr const char* NAME<const long long*> = "const int64*";
template <> constexpr const char* NAME<long long> = "int64";
template <> constexpr const char* NAME<double> = "float64";

template <class... A> const char* argument(void (*)(A...), size_t number) {
    const char* names[] = {NAME<A>...};
    return number < sizeof...(A) ? names[number] : nullptr;
}

template <class... A, size_t... I> void apply(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(args[I])...);
}

template <class... A> void call(void (*kernel)(A...), void** args) { apply(kernel, args, std::index_sequence_for<A...>{}); }

}  // namespace cpu

void __syncthreads() { cpu::wait(cpu::AT_BARRIER); }

template <class T> T __shfl_xor_sync(unsigned mask, T value, int distance) {
    if (mask != 0xffffffff || cpu::threads % cpu::WARP) {
        cpu::error = "a shuffle among part of a warp: this emulation knows whole warps alone";
        return value;
    }
    std::memcpy(cpu::fibers[cpu::current].exchanged, &value, sizeof(T));
    cpu::wait(cpu::AT_SHUFFLE);  // until all have offered theirs
    std::memcpy(&value, cpu::fibers[cpu::current ^ distance].exchanged, sizeof(T));
    cpu::wait(cpu::AT_SHUFFLE);  // until all have taken one
    return value;
}

// For every kernel: argument_NAME(i) tells its i-th argument's type, launch_NAME runs it and returns an error or null.
#define EXPORT(kernel)                                                                                          \
    extern "C" const char* argument_##kernel(size_t number) { return cpu::argument(kernel, number); }           \
    extern "C" const char* launch_##kernel(const unsigned* g, const unsigned* b, void** args, int descending) { \
        cpu::body = [] { cpu::call(kernel, static_cast<void**>(cpu::body_args)); };                             \
        cpu::body_args = args;                                                                                  \
        return cpu::launch({g[0], g[1], g[2]}, {b[0], b[1], b[2]}, descending);                                 \
    }
