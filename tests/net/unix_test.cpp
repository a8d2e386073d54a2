// Unix sockets: the path, its file, and the same rules as every stream.

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/unix.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using weft::WaitGroup;
using weft::net::Listener;
using weft::net::Stream;
namespace fs = std::filesystem;
namespace net = weft::net;
namespace test = weft::test;

class UnixTest : public testing::Test {
 protected:
  UnixTest() {
    std::string name = fs::temp_directory_path() / "weft-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    path_ = folder_ / "socket";
  }
  ~UnixTest() override { fs::remove_all(folder_); }

  fs::path folder_;
  std::string path_;
};

std::string read_all(Stream& stream) {
  std::string text(64, '\0');
  std::error_code error;
  text.resize(stream.read_full(std::as_writable_bytes(std::span(text)), error));
  EXPECT_EQ(error, net::errc::eof);
  return text;
}

// Rules: NET-7, NET-11
TEST_F(UnixTest, ConnectsByPathAndRemovesItsFileOnClose) {
  test::everywhere([this] {
    Listener listener = net::listen_unix(path_);
    EXPECT_EQ(listener.local().to_string(), path_);
    EXPECT_TRUE(fs::is_socket(path_));
    WaitGroup wg;
    wg.go([&] {
      Stream server = listener.accept();
      server.write(read_all(server) + "!");
    });
    Stream client = net::dial_unix(path_);
    EXPECT_EQ(client.peer().to_string(), path_);
    client.write("hello");
    EXPECT_FALSE(client.shutdown_write());
    EXPECT_EQ(read_all(client), "hello!");
    wg.wait();

    EXPECT_FALSE(listener.close());
    EXPECT_FALSE(fs::exists(path_));
    // Its name may be somebody else's by now.
    const Listener another = net::listen_unix(path_);
    EXPECT_EQ(listener.close(), net::errc::closed);
    EXPECT_TRUE(fs::exists(path_));
  });
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(UnixTest, TheFileGoesWithTheListenerThatWasMoved) {
  weft::run([this] {
    Listener listener = net::listen_unix(path_);
    {
      const Listener moved = std::move(listener);
      EXPECT_TRUE(fs::exists(path_));
    }
    EXPECT_FALSE(fs::exists(path_));
    listener = net::listen_unix(path_);
    listener = Listener();
    EXPECT_FALSE(fs::exists(path_));
  });
}

TEST_F(UnixTest, ATakenPathIsRefusedAndNamed) {
  weft::run([this] {
    const Listener listener = net::listen_unix(path_);
    std::error_code error;
    EXPECT_FALSE(net::listen_unix(path_, error).is_open());
    EXPECT_EQ(error, std::errc::address_in_use);
    EXPECT_TRUE(fs::exists(path_)) << "it is the first one's";
    try {
      net::listen_unix(path_);
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "listen_unix \"" + path_ + "\": Address already in use"))
          << refused.what();
    }
  });
}

TEST_F(UnixTest, AFileThatADeadProcessHasLeftIsTakenOver) {
  weft::run([this] {
    {
      const int left = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      std::error_code error;
      const net::Endpoint endpoint = net::Endpoint::unix_path(path_, error);
      ASSERT_EQ(::bind(left, endpoint.data(), endpoint.size()), 0);
      ASSERT_EQ(::listen(left, 1), 0);
      ::close(left);
    }
    // The recipe of docs/net.md.
    std::error_code error;
    Listener listener = net::listen_unix(path_, error);
    EXPECT_EQ(error, std::errc::address_in_use);
    std::error_code nobody;
    net::dial_unix(path_, nobody);
    EXPECT_EQ(nobody, std::errc::connection_refused);
    ::unlink(path_.c_str());
    listener = net::listen_unix(path_);
    EXPECT_TRUE(net::dial_unix(path_).is_open());
  });
}

TEST_F(UnixTest, APathThatIsTooLongOrLeadsNowhere) {
  weft::run([this] {
    const std::string longest(107, 'x');
    std::error_code error;
    EXPECT_EQ(net::Endpoint::unix_path(longest, error).to_string(), longest);
    EXPECT_FALSE(error);
    EXPECT_FALSE(net::listen_unix(longest + "x", error).is_open());
    EXPECT_EQ(error, std::errc::filename_too_long);
    EXPECT_FALSE(net::dial_unix(longest + "x", error).is_open());
    EXPECT_EQ(error, std::errc::filename_too_long);
    EXPECT_FALSE(net::listen_unix("", error).is_open());
    EXPECT_EQ(error, net::errc::bad_address);
    EXPECT_FALSE(net::dial_unix(path_, error).is_open());
    EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  });
}

TEST_F(UnixTest, ANameWithoutAFile) {
  weft::run([] {
    const std::string name = "@weft-test-" + std::to_string(::getpid());
    Listener listener = net::listen_unix(name);
    EXPECT_EQ(listener.local().to_string(), name);
    EXPECT_FALSE(fs::exists(name));
    Stream client = net::dial_unix(name);
    client.write("x");
    client.close();
    Stream server = listener.accept();
    EXPECT_EQ(read_all(server), "x");
  });
}

/// Nothing would tell a dialer of room in the queue: it must not wait for that.
TEST_F(UnixTest, AFullQueueIsAnErrorAtOnce) {
  weft::run([this] {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    std::error_code error;
    const net::Endpoint endpoint = net::Endpoint::unix_path(path_, error);
    ASSERT_EQ(::bind(fd, endpoint.data(), endpoint.size()), 0);
    ASSERT_EQ(::listen(fd, 1), 0);
    Listener listener(fd);
    std::vector<Stream> queued;
    for (int i = 0; i < 100 && !error; ++i) queued.push_back(net::dial_unix(path_, error));
    EXPECT_EQ(error, std::errc::resource_unavailable_try_again);
  });
}

/// The recipe of docs/net.md: the connection is still there once a descriptor is free.
TEST(ListenerTest, AcceptWithoutADescriptorLeavesTheConnectionInTheQueue) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      const std::string name = "@weft-test-" + std::to_string(::getpid());
      Listener listener = net::listen_unix(name);
      Stream client = net::dial_unix(name);
      client.write("x");
      const rlimit few{64, 64};
      if (::setrlimit(RLIMIT_NOFILE, &few) != 0) std::abort();
      std::vector<int> all;
      for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) all.push_back(fd);
      std::error_code error;
      listener.accept(error);
      if (error != std::errc::too_many_files_open) std::abort();
      ::close(all.back());
      all.pop_back();
      Stream server = listener.accept();
      std::byte byte{};
      server.read_full(std::span(&byte, 1));
      // UBSan looks at an object's type through a pipe: threads that end without two descriptors each have "invalid vptr".
      for (const int fd : all) ::close(fd);
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

}  // namespace
