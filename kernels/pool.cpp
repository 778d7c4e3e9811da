// The threads behind `pool.h`: started when they are first needed, and again in a forked child.
#include "pool.h"

#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>
#if defined(_WIN32)
#include <process.h>
#define getpid _getpid
#else
#include <pthread.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
static void relax() { _mm_pause(); }
#elif defined(__aarch64__)
static void relax() { __asm__ volatile("yield"); }
#else
static void relax() {}
#endif

// How often a thread spins before it yields its core: the next barrier is a microsecond away, the next step of decoding
// hundreds.
static constexpr int BARRIER_SPINS = 4000, IDLE_SPINS = 4000;

void Team::barrier() {
    const uint32_t current = round.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        arrived.store(0, std::memory_order_relaxed);
        next.store(0, std::memory_order_relaxed);
        round.store(current + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round.load(std::memory_order_acquire) == current; spins++)
        spins < BARRIER_SPINS ? relax() : std::this_thread::yield();
}

namespace {

class Pool {
public:
    explicit Pool(int requested) : requested(requested), process(getpid()) {
        workers.reserve(requested);
        try {
            for (; team.size < requested; team.size++) {
                const int thread = team.size;
                workers.emplace_back([this, thread] { work(thread); });
            }
        } catch (const std::system_error &) {  // a limit of threads or of memory: go on with those that were started
        } catch (const std::bad_alloc &) {
        }
    }
    ~Pool() {
        stopping = true;
        start();
        for (std::thread &worker : workers) worker.join();
    }
    void run(void (*function)(void *, Team &, int), void *argument) {
        job = function, job_argument = argument;
        if (team.size > 1) start();
        function(argument, team, 0);
        team.barrier();  // all threads have left the function
    }
    Team team;
    const int requested, process;

private:
    void start() {
        {
            std::lock_guard<std::mutex> lock(mutex);
            started.fetch_add(1, std::memory_order_release);
        }
        wake.notify_all();
    }
    void work(int thread) {
        for (uint64_t done = 0;; done++) {
            for (int spins = 0; started.load(std::memory_order_acquire) == done && spins < IDLE_SPINS; spins++) relax();
            if (started.load(std::memory_order_acquire) == done) {
                std::unique_lock<std::mutex> lock(mutex);
                wake.wait(lock, [&] { return started.load(std::memory_order_acquire) != done; });
            }
            if (stopping) return;
            job(job_argument, team, thread);
            team.barrier();
        }
    }
    std::vector<std::thread> workers;
    std::mutex mutex;
    std::condition_variable wake;
    std::atomic<uint64_t> started{0};
    void (*job)(void *, Team &, int) = nullptr;
    void *job_argument = nullptr;
    bool stopping = false;
};

std::mutex callers;
int thread_count = 1;
Pool *pool = nullptr;  // not destroyed at exit, when a worker may still be asleep in it
std::vector<uint8_t> scratch;
#if !defined(_WIN32)
// A fork waits for the running call: otherwise the lock would stay locked in the child for ever.
[[maybe_unused]] const int at_fork = pthread_atfork([] { callers.lock(); }, [] { callers.unlock(); }, [] { callers.unlock(); });
#endif

}  // namespace

Session::Session() {
    std::unique_lock<std::mutex> lock(callers);
    const int size = ::num_threads();
    if (pool && pool->process == getpid() && pool->requested != size) {
        delete pool;
        pool = nullptr;
    }
    // After a fork the threads are the parent's: the child starts its own, and leaks the old object.
    if (!pool || pool->process != getpid()) pool = new Pool(size);
    lock.release();
}

Session::~Session() { callers.unlock(); }

int Session::num_threads() const { return pool->team.size; }

uint8_t *Session::memory(int64_t num_bytes) {
    if ((int64_t)scratch.size() < num_bytes + 64) {
        scratch = std::vector<uint8_t>();  // free the old memory before allocating the new
        scratch.resize(num_bytes + 64);
    }
    return scratch.data() + (64 - (uintptr_t)scratch.data() % 64);
}

void Session::run(void (*function)(void *, Team &, int), void *argument) { pool->run(function, argument); }

int num_threads() { return thread_count; }

void set_num_threads(int count) {
    std::lock_guard<std::mutex> lock(callers);
    thread_count = count;
}
