#pragma once

// Goroutines that nobody can wake any more: parked on channels that nobody can reach but goroutines that are themselves never
// woken. What a garbage collector would know; here the memory of the process is looked at instead, while all threads rest.
//
//   Candidates  goroutines parked in sends, receives and selects of channels, with nothing else that could end the wait.
//   Territory   of a candidate: what is saved of its stack, its record, its closure. Of a channel: its memory.
//   Roots       all other memory that can be written: globals, the heap, the stacks and saved registers of threads and of
//               all other goroutines. What is dead is left out where that is known: below stack pointers, the stacks and
//               records that nobody uses.
//   Marking     A word in a root that points into a territory makes its owner reachable: its territory becomes a root. With a
//               channel all who wait for it become reachable. Candidates that are not reachable in the end are leaked.
// Why that is right: whoever is to wake a candidate has to get at its channel; through a handle, which holds the core's
// address, or through something that leads to a handle: a reference to one in the candidate's frame, say, which is an
// address in its territory. So some word of a root, or of what is reachable, points there. It is not right for what hides
// addresses: unaligned or encoded pointers, memory of other processes, a file; or offsets from a neighbour's address.
// What it misses: any word that looks like such an address counts, also one that is dead (a freed block, a slot of a frame that
// is not used any more), and blocks of the heap are roots whoever owns them. So it finds only some, by the nature of the thing.

#include <cstdint>
#include <vector>

#include "deadlock.hpp"

namespace weft::detail {

/// The numbers of goroutines that are leaked. Blocks all other threads of the process meanwhile. One call at a time. Throws
/// std::system_error: some thread cannot be stopped, memory cannot be read; std::bad_alloc.
std::vector<std::uint64_t> find_leaked(Schedulers schedulers);

}  // namespace weft::detail
