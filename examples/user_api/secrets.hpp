// What must not be readable in the database: passwords and tokens. By OpenSSL.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <weft/context.hpp>
#include <weft/semaphore.hpp>

namespace user_api {

/// Salted hashes by scrypt, which takes time and memory on purpose: who has stolen the database must spend them for each
/// guess. That is some 50 ms and 32 MiB with the default cost. So no more hashes are computed at once than there are
/// processors: whoever comes then parks, which bounds the memory. And each runs inside weft::blocking(), as what computes
/// for long may: requests that need no hash get a processor at once and are not held up by those that do.
/// Safe from: any number of goroutines at once.
class PasswordHasher {
 public:
  static constexpr unsigned kDefaultCost = 15;

  /// `cost`: 1 more doubles time and memory. From 1 to 20.
  explicit PasswordHasher(unsigned cost = kDefaultCost);

  /// "scrypt$15$<salt>$<key>": with all that it takes to check it, also when the default cost has become another.
  /// Throws std::system_error with the context's error if that ends before its turn.
  std::string hash(const weft::Context& ctx, std::string_view password);
  /// Throws std::invalid_argument for what is no such hash.
  bool matches(const weft::Context& ctx, std::string_view password, std::string_view hash);

 private:
  const unsigned cost_;
  weft::Semaphore turns_;
};

/// 256 random bits in hexadecimal digits: nobody guesses it.
std::string make_token();
/// What the database has instead of the token. A plain SHA-256 will do for what cannot be guessed.
std::string hash_token(std::string_view token);

}  // namespace user_api
