// The threads behind `pool.h`: made when they are first needed, and anew in a forked child.
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

// Spins before a thread gives its core away: a barrier is a microsecond off, the next step of decoding hundreds.
static constexpr int BARRIER_SPINS = 4000, IDLE_SPINS = 4000;

void Team::barrier() {
    const uint32_t mine = round.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        arrived.store(0, std::memory_order_relaxed);
        next.store(0, std::memory_order_relaxed);
        round.store(mine + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round.load(std::memory_order_acquire) == mine; spins++)
        spins < BARRIER_SPINS ? relax() : std::this_thread::yield();
}

namespace {

class Pool {
public:
    explicit Pool(int asked) : asked(asked), process(getpid()) {
        workers.reserve(asked);
        try {
            for (; team.size < asked; team.size++) {
                const int thread = team.size;
                workers.emplace_back([this, thread] { work(thread); });
            }
        } catch (const std::system_error &) {  // a limit of threads or of memory: those there are do
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
        team.barrier();  // nobody is inside any more
    }
    Team team;
    const int asked, process;

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
int wanted = 1;
Pool *pool = nullptr;  // not destroyed at exit, when a worker may still be asleep in it
std::vector<uint8_t> kept;
#if !defined(_WIN32)
// A fork waits for the call that is at work, or the child would find the lock taken for ever.
[[maybe_unused]] const int at_fork = pthread_atfork([] { callers.lock(); }, [] { callers.unlock(); }, [] { callers.unlock(); });
#endif

}  // namespace

Session::Session() {
    std::unique_lock<std::mutex> lock(callers);
    const int size = ::num_threads();
    if (pool && pool->process == getpid() && pool->asked != size) {
        delete pool;
        pool = nullptr;
    }
    // After a fork the threads are the parent's; the child makes its own and lets the old object be.
    if (!pool || pool->process != getpid()) pool = new Pool(size);
    lock.release();
}

Session::~Session() { callers.unlock(); }

int Session::num_threads() const { return pool->team.size; }

uint8_t *Session::memory(int64_t num_bytes) {
    if ((int64_t)kept.size() < num_bytes + 64) {
        kept = std::vector<uint8_t>();  // first give back, then take
        kept.resize(num_bytes + 64);
    }
    return kept.data() + (64 - (uintptr_t)kept.data() % 64);
}

void Session::run(void (*function)(void *, Team &, int), void *argument) { pool->run(function, argument); }

int num_threads() { return wanted; }

void set_num_threads(int count) {
    std::lock_guard<std::mutex> lock(callers);
    wanted = count;
}
