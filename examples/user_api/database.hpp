// A pool of connections to one SQLite file: a channel holds those that are free.

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>

#include "sqlite.hpp"

namespace user_api {

/// SQLite lets many read at a time and one write. So there are some connections for readers and one for writers: who
/// finds none free parks at the channel, a goroutine and not a thread, until one comes back or its context ends.
/// The statements themselves run inside weft::blocking(): a slow disk holds up nobody else.
/// Safe from: any number of goroutines at once.
class Database {
 public:
  explicit Database(const std::string& file, std::size_t readers = 4) : readers_(readers), writers_(1) {
    writers_.add(file);  // first: it makes the file what it is to be
    for (std::size_t i = 0; i < readers; ++i) readers_.add(file);
  }

  /// Returns use(connection). Throws what that throws; std::system_error with the context's error if that ends first.
  template <class F>
  auto read(const weft::Context& ctx, F&& use) {
    return readers_.run(ctx, std::forward<F>(use));
  }
  template <class F>
  auto write(const weft::Context& ctx, F&& use) {
    return writers_.run(ctx, std::forward<F>(use));
  }

 private:
  class Pool {
   public:
    explicit Pool(std::size_t size) : free_(weft::make_chan<std::unique_ptr<Connection>>(size)) {}

    void add(const std::string& file) {
      free_.send(weft::blocking([&] { return std::make_unique<Connection>(file); }));
    }

    template <class F>
    auto run(const weft::Context& ctx, F&& use) {
      const Loan loan(free_, ctx);
      return weft::blocking([&] { return use(*loan.connection); });
    }

   private:
    using Free = weft::Chan<std::unique_ptr<Connection>>;

    struct Loan {
      Loan(const Free& free_connections, const weft::Context& ctx) : free(free_connections) {
        auto received = free.recv(ctx);
        if (!received) ctx.throw_if_done();
        connection = *std::move(received);
      }
      ~Loan() { free.send(std::move(connection)); }  // there is room: it came from there
      Loan(const Loan&) = delete;
      Loan& operator=(const Loan&) = delete;

      const Free& free;
      std::unique_ptr<Connection> connection;
    };

    Free free_;
  };

  Pool readers_;
  Pool writers_;
};

}  // namespace user_api
