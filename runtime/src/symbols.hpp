#pragma once

// Names for addresses of code: from the symbol tables of the program's files, so that static functions and lambdas have
// names too, though the dynamic linker does not know them.
//
// Entered by reports, on any thread; takes a lock and allocates, and a long name is taken apart on the stack (up to some
// 100 KiB). A file's table is read when its first address is looked up, and stays.

#include <cstdint>
#include <string>

namespace weft::detail {

/// What is known about one address.
struct Symbol {
  std::string mangled;         // empty: unknown
  std::uintptr_t offset = 0;   // from the start of the function
  std::string file;            // its name, without folders; empty: not in any file
  std::uintptr_t in_file = 0;  // what addr2line wants
};

/// Of the code that ends at `address`, as a return address does (the byte before it counts).
Symbol find_symbol(const void* address);

/// A name as people write it.
std::string demangle(const char* name);
/// The same for a symbol that has a name. A goroutine's closure is shown without what the library has wrapped it in.
std::string name_of(const Symbol& symbol);

/// "function+0x12", or "file+0x123" for addr2line if the file has no symbols.
std::string describe_address(const void* address);

}  // namespace weft::detail
