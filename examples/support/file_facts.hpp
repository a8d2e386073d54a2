// The work that worker_pool and process_files do on each file: its size, its lines, its SHA-256.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "files.hpp"

namespace examples {

/// The shape of the article's FetchResult: what was asked for, what came back, and the error if nothing did.
struct FileResult {
  std::string path;
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;  // newline characters, as `wc -l` counts them
  std::string sha256 = {};  // in hexadecimal, as `sha256sum` prints it
  std::string error = {};   // empty when all is well

  bool operator==(const FileResult&) const = default;
};

/// Before main, so before any runtime: what is set up first is taken down last. OpenSSL keeps state for each thread that
/// uses it, and can free it only if the runtime's threads end before OpenSSL does.
inline const bool openssl_is_ready = OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr) == 1;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    must(openssl_is_ready && context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void update(std::span<const std::byte> bytes) {
    must(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }

  std::string hex() {
    static constexpr char kHex[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    must(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1);
    std::string text;
    for (unsigned i = 0; i < length; ++i) {
      text += {kHex[digest[i] >> 4], kHex[digest[i] & 0xf]};
    }
    return text;
  }

 private:
  static void must(bool is_ok) {
    if (!is_ok) {
      throw std::runtime_error("OpenSSL has no SHA-256");
    }
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

/// Never throws for trouble with the file, whatever it is: the caller gets exactly one result for each file.
inline FileResult file_facts(const std::string& path) {
  FileResult result{.path = path};
  try {
    Sha256 sha256;
    result.error = read_file(path, [&](std::span<const std::byte> block) {
      result.bytes += block.size();
      result.lines += static_cast<std::uint64_t>(std::count(block.begin(), block.end(), std::byte{'\n'}));
      sha256.update(block);
    });
    if (result.error.empty()) {
      result.sha256 = sha256.hex();
    }
  } catch (const std::exception& failure) {
    result.error = cannot("read", path, failure.what());
  }
  return result;
}

}  // namespace examples
