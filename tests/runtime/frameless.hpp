#pragma once
// Functions in code that is built without frame pointers, and that no compiler may inline.

#include <weft/chan.hpp>

namespace weft::test::frameless {

/// Receives once from `chan`, some calls deeper: in outer, `depth` times in middle, in inner.
void outer(const weft::Chan<int>& chan, int depth);

}  // namespace weft::test::frameless
