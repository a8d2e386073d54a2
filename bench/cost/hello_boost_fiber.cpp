#include <cstdio>

#include <boost/fiber/all.hpp>

int main() {
  boost::fibers::unbuffered_channel<const char*> greeting;
  boost::fibers::fiber greeter([&] { greeting.push("hello"); });
  std::puts(greeting.value_pop());
  greeter.join();
}
