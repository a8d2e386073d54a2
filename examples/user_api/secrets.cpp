#include "secrets.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <system_error>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <weft/go.hpp>
#include <weft/runtime.hpp>

namespace user_api {

namespace {

constexpr std::string_view kScheme = "scrypt$";
constexpr unsigned kMaxCost = 20;

/// Before main, so before any runtime: what is set up first is taken down last. OpenSSL keeps state for each thread that
/// uses it, and can free it only if the runtime's threads end before OpenSSL does.
const bool openssl_is_ready = OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr) == 1;

void must(bool is_done, const char* what) {
  if (!is_done || !openssl_is_ready) throw std::runtime_error(std::string("OpenSSL cannot ") + what);
}

std::string to_hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) text += {kDigits[byte >> 4U], kDigits[byte & 0xfU]};
  return text;
}

template <std::size_t kBytes>
std::string random_hex() {
  std::array<unsigned char, kBytes> bytes{};
  must(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1, "make random numbers");
  return to_hex(bytes);
}

/// The hash, as it is kept.
std::string scrypt(std::string_view password, unsigned cost, std::string_view salt) {
  constexpr std::uint64_t kBlockSize = 8;  // "r"
  constexpr std::uint64_t kLanes = 1;      // "p"
  const std::uint64_t n = std::uint64_t{1} << cost;
  const std::uint64_t most_memory = 128 * kBlockSize * (n + kLanes + 2);
  std::array<unsigned char, 32> key{};
  const int is_done = weft::blocking([&] {
    return EVP_PBE_scrypt(password.data(), password.size(), reinterpret_cast<const unsigned char*>(salt.data()),
                          salt.size(), n, kBlockSize, kLanes, most_memory, key.data(), key.size());
  });
  must(is_done == 1, "hash a password");
  return std::string(kScheme) + std::to_string(cost) + "$" + std::string(salt) + "$" + to_hex(key);
}

}  // namespace

PasswordHasher::PasswordHasher(unsigned cost) : cost_(cost), turns_(weft::stats().processors) {
  if (cost < 1 || cost > kMaxCost) throw std::invalid_argument("a password hash's cost is from 1 to 20");
}

std::string PasswordHasher::hash(const weft::Context& ctx, std::string_view password) {
  const auto turn = turns_.acquire_guard(ctx);
  if (!turn) ctx.throw_if_done();
  return scrypt(password, cost_, random_hex<16>());
}

bool PasswordHasher::matches(const weft::Context& ctx, std::string_view password, std::string_view hash) {
  unsigned cost = 0;
  const char* const end = hash.data() + hash.size();
  const char* const cost_text = hash.starts_with(kScheme) ? hash.data() + kScheme.size() : end;
  const std::string_view rest(std::from_chars(cost_text, end, cost).ptr, end);
  const std::size_t salt_end = rest.find('$', 1);
  if (cost < 1 || cost > kMaxCost || !rest.starts_with('$') || salt_end == std::string_view::npos) {
    throw std::invalid_argument("not a password hash by scrypt");
  }
  const auto turn = turns_.acquire_guard(ctx);
  if (!turn) ctx.throw_if_done();
  const std::string again = scrypt(password, cost, rest.substr(1, salt_end - 1));
  // Not ==, which takes the longer the more of the key is right.
  return again.size() == hash.size() && CRYPTO_memcmp(again.data(), hash.data(), again.size()) == 0;
}

std::string make_token() { return random_hex<32>(); }

std::string hash_token(std::string_view token) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  must(EVP_Digest(token.data(), token.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1, "compute SHA-256");
  return to_hex(std::span(digest).first(length));
}

}  // namespace user_api
