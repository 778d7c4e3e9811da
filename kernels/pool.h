// A small team of threads. All of them run the same function and meet at barriers; work between barriers is handed out
// piece by piece, so that a thread whose core is busy elsewhere delays the others by one piece at most.
//
// Included by files that are compiled for several instruction sets: nothing here may instantiate a shared template.
#pragma once
#include <stdint.h>

#include <atomic>

class Team {
public:
    int size = 1;

    // Called by every thread: body(first, last) for ranges of at most `grain` of 0..count, then a barrier.
    template <class Body> void share(int64_t count, int64_t grain, Body body) {
        for (int64_t first; (first = next.fetch_add(grain, std::memory_order_relaxed)) < count;)
            body(first, first + grain < count ? first + grain : count);
        barrier();
    }
    void barrier();

private:
    alignas(64) std::atomic<int64_t> next{0};
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<uint32_t> round{0};
};

// Exclusive use of the process's thread pool, with scratch memory that is kept from one session to the next.
class Session {
public:
    // Has fewer threads than were set where the system allows no more. Throws std::bad_alloc.
    Session();
    ~Session();
    int num_threads() const;
    // At least `num_bytes` bytes, aligned to 64; what an earlier call returned becomes invalid. Throws std::bad_alloc.
    uint8_t *memory(int64_t num_bytes);
    // Runs body(team, thread) on all threads, the caller's included.
    template <class Body> void run(Body body) {
        run([](void *body, Team &team, int thread) { (*(Body *)body)(team, thread); }, &body);
    }

private:
    void run(void (*function)(void *, Team &, int), void *argument);
};

void set_num_threads(int count);
int num_threads();
