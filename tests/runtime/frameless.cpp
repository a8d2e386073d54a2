#include "frameless.hpp"

#include <cstring>

namespace weft::test::frameless {
namespace {

/// Something to do after a call, so that it is not a jump.
void come_back() { asm volatile("" ::: "memory"); }

[[gnu::noinline]] void inner(const weft::Chan<int>& chan) {
  chan.recv();
  come_back();
}

// NOLINTNEXTLINE(misc-no-recursion): that is what it is for
[[gnu::noinline]] void middle(const weft::Chan<int>& chan, int depth) {
  char local[200];
  std::memset(local, depth, sizeof local);
  asm volatile("" : : "r"(local) : "memory");
  if (depth > 1) {
    middle(chan, depth - 1);
  } else {
    inner(chan);
  }
  come_back();
}

}  // namespace

[[gnu::noinline]] void outer(const weft::Chan<int>& chan, int depth) {
  middle(chan, depth);
  come_back();
}

}  // namespace weft::test::frameless
