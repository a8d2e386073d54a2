// Names for addresses of code.

#include "symbols.hpp"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace {

using weft::detail::describe_address;
using weft::detail::find_symbol;

[[gnu::noinline]] int nobody_exports_this(int n) {
  asm volatile("" : "+r"(n));
  return n + 1;
}

const void* after(const void* function) { return static_cast<const char*>(function) + 1; }

TEST(SymbolsTest, FunctionsThatAreNotExportedHaveNames) {
  const void* address = after(reinterpret_cast<const void*>(&nobody_exports_this));
  EXPECT_EQ(describe_address(address), "(anonymous namespace)::nobody_exports_this(int)+0x1");
  const auto lambda = +[](int n) { return nobody_exports_this(n); };
  EXPECT_NE(describe_address(after(reinterpret_cast<const void*>(lambda))).find("TestBody()::"), std::string::npos);
}

TEST(SymbolsTest, FunctionsOfLibrariesHaveNamesAndTheFileIsTold) {
  const auto symbol = find_symbol(after(reinterpret_cast<const void*>(&std::abort)));
  EXPECT_NE(symbol.mangled.find("abort"), std::string::npos);
  EXPECT_FALSE(symbol.file.empty());
  EXPECT_NE(symbol.in_file, 0U);
}

TEST(SymbolsTest, AReturnAddressBehindTheLastInstructionBelongsToTheCaller) {
  // A call that does not return may be the last instruction: the address behind it is in the next function.
  const auto whole = find_symbol(after(reinterpret_cast<const void*>(&nobody_exports_this)));
  const auto before = find_symbol(reinterpret_cast<const void*>(&nobody_exports_this));
  EXPECT_NE(before.mangled, whole.mangled);
}

TEST(SymbolsTest, WhatIsNoCodeIsUnknown) {
  EXPECT_EQ(describe_address(nullptr), "unknown");
  const int local = 0;
  EXPECT_EQ(describe_address(&local), "unknown");
}

}  // namespace
