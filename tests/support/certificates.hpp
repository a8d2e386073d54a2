#pragma once
// Certificates for tests of TLS, made when the test runs: no key is kept in the tree.

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace weft::test {

/// A certificate authority, and a folder for what it issues; both go with the object. issue() may be called by several threads at once.
class Authority {
 public:
  Authority();
  ~Authority();

  /// Files, PEM.
  struct Issued {
    std::string certificate;
    std::string key;
  };
  enum class Kind { kValid, kExpired, kByIntermediate };
  /// For these host names and IP addresses.
  Issued issue(const std::vector<std::string>& names, Kind kind = Kind::kValid);
  /// The same key, but not without a pass phrase.
  std::string locked_key(const Issued& issued);
  /// Its own certificate.
  std::string file() const { return folder_ / "authority.pem"; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  struct Signer;
  std::filesystem::path folder_;
  std::unique_ptr<Signer> root_;
  std::atomic<int> issued_{0};
};

}  // namespace weft::test
