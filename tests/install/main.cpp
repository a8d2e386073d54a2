// A program as a user of the installed library writes it: goroutines, a channel, a WaitGroup, and a status to judge by.

#include <cstdio>

#include <weft/weft.hpp>

int main() {
  const int sum = weft::run([] {
    const weft::Chan<int> squares = weft::make_chan<int>(4);
    weft::WaitGroup producers;
    for (int i = 1; i <= 10; ++i) {
      producers.go([squares, i] { squares.send(i * i); });
    }
    weft::go([&producers, squares] {
      producers.wait();
      squares.close();
    });
    int total = 0;
    for (const int square : squares) {
      total += square;
    }
    return total;
  });
  std::printf("sum of squares: %d\n", sum);
  return sum == 385 ? 0 : 1;
}
