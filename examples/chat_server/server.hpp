// The chat itself: its guests, the hub that owns the rooms, and the server that lets them in.

#pragma once

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/lines.hpp"

namespace chat {

using namespace std::chrono_literals;
using examples::LineReader;
using weft::net::Listener;
using weft::net::Stream;

constexpr std::size_t kLongestName = 16;
constexpr const char* kBye = "* bye";
constexpr auto kLastWords = 3s;  // how long a guest who goes is given to take what is still for them

/// One connection.
struct Guest {
  Guest(Stream connection, std::size_t room_for)
      : stream(std::move(connection)), queue(weft::make_chan<std::string>(room_for)) {}

  Stream stream;
  const weft::Chan<std::string> queue;  // what the writer is to send; only the hub sends to it and closes it
  std::string farewell;                 // written before the queue is closed, read after that
  // The hub's:
  std::string name;
  std::string room;
};
using GuestPtr = std::shared_ptr<Guest>;

/// Who is in which room. All but send() and close() runs in one goroutine.
class Hub {
 public:
  enum class What { has_come, says, has_left, closes };

  void send(What what, const GuestPtr& guest, std::string line = {}) const {
    events_.send({what, guest, std::move(line)});
  }
  void close() const { events_.close(); }

  /// Until it is closed.
  void run() {
    for (Event& event : events_) {
      switch (event.what) {
        case What::has_come:
          welcome(event.guest);
          if (is_closing_) {
            end(event.guest, "* the server is going down", "");
          }
          break;
        case What::says:
          if (!event.guest->room.empty()) {  // not if it was put out meanwhile
            obey(event.guest, event.line);
          }
          break;
        case What::has_left:
          end(event.guest, event.line, "has left");
          break;
        case What::closes:
          is_closing_ = true;
          for (const GuestPtr& guest : std::vector(guests_)) {
            end(guest, "* the server is going down", "");
          }
          break;
      }
      put_out_the_slow();
    }
  }

  /// After run().
  [[nodiscard]] std::size_t put_out() const { return put_out_; }

 private:
  struct Event {
    What what;
    GuestPtr guest;
    std::string line;
  };

  void welcome(const GuestPtr& guest) {
    guest->name = "guest" + std::to_string(++come_);
    guests_.push_back(guest);
    tell(guest, "* welcome, " + guest->name + "; there are /nick NAME, /join ROOM, /who and /quit");
    enter(guest, "lobby");
  }

  void obey(const GuestPtr& guest, const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string verb = line.substr(0, space);
    const std::string object = space == std::string::npos ? "" : line.substr(space + 1);
    if (!line.starts_with('/')) {
      tell_others(guest, guest->name + ": " + line);
    } else if (verb == "/nick") {
      rename(guest, object);
    } else if (verb == "/join") {
      join(guest, object);
    } else if (verb == "/who") {
      tell(guest, "* in " + guest->room + ": " + names_in(guest->room));
    } else if (verb == "/quit") {
      end(guest, kBye, "has left");
    } else {
      tell(guest, "* " + verb + " is unknown; there are /nick NAME, /join ROOM, /who and /quit");
    }
  }

  void rename(const GuestPtr& guest, const std::string& name) {
    const bool is_taken =
        std::any_of(guests_.begin(), guests_.end(), [&](const GuestPtr& g) { return g->name == name; });
    if (!is_name(name)) {
      tell(guest, "* a name has 1 to 16 letters and digits");
    } else if (is_taken) {
      tell(guest, "* " + name + " is taken");
    } else {
      tell_others(guest, "* " + guest->name + " is now " + name);
      guest->name = name;
      tell(guest, "* you are now " + name);
    }
  }

  void join(const GuestPtr& guest, const std::string& room) {
    if (!is_name(room)) {
      tell(guest, "* a room's name has 1 to 16 letters and digits");
    } else if (room != guest->room) {
      tell_others(guest, "* " + guest->name + " has gone to " + room);
      enter(guest, room);
    }
  }

  void enter(const GuestPtr& guest, const std::string& room) {
    guest->room = room;
    tell(guest, "* you are in " + room + ", with " + names_in(room));
    tell_others(guest, "* " + guest->name + " has come");
  }

  static bool is_name(const std::string& name) {
    const auto fits = [](unsigned char c) { return std::isalnum(c) != 0; };
    return !name.empty() && name.size() <= kLongestName && std::all_of(name.begin(), name.end(), fits);
  }

  [[nodiscard]] std::string names_in(const std::string& room) const {
    std::string names;
    for (const GuestPtr& guest : guests_) {
      if (guest->room == room) {
        names += (names.empty() ? "" : ", ") + guest->name;
      }
    }
    return names;
  }

  /// Never waits: without room in the queue the guest is too slow.
  void tell(const GuestPtr& guest, const std::string& line) {
    if (guest->queue.try_send(line + "\n") != weft::ChanStatus::ok) {
      slow_.push_back(guest);
    }
  }

  void tell_others(const GuestPtr& guest, const std::string& line) {
    for (const GuestPtr& other : guests_) {
      if (other != guest && other->room == guest->room) {
        tell(other, line);
      }
    }
  }

  /// Which may make others slow.
  void put_out_the_slow() {
    while (!slow_.empty()) {
      const GuestPtr guest = slow_.back();
      slow_.pop_back();
      if (!guest->room.empty()) {
        ++put_out_;
        end(guest, "* you are too slow: more was said than you took, so you were put out", "was too slow and is out",
            0s);
      }
    }
  }

  /// The writer sends what is queued, if it can within that time, and then the farewell; the others get the news.
  void end(const GuestPtr& guest, const std::string& farewell, const std::string& news,
           std::chrono::seconds patience = kLastWords) {
    if (std::erase(guests_, guest) == 0) {
      return;
    }
    if (!news.empty()) {
      tell_others(guest, "* " + guest->name + " " + news);
    }
    guest->room.clear();
    guest->farewell = farewell;
    guest->stream.set_write_deadline(weft::Clock::now() + patience);
    guest->queue.close();
  }

  const weft::Chan<Event> events_ = weft::make_chan<Event>();
  std::vector<GuestPtr> guests_;
  std::vector<GuestPtr> slow_;
  std::size_t come_ = 0;
  std::size_t put_out_ = 0;
  bool is_closing_ = false;
};

/// Sends what is queued for a guest. It goes on receiving if the guest takes nothing any more: the hub ends the queue.
inline void write_queue(Guest& guest) {
  std::error_code error;
  for (const std::string& line : guest.queue) {
    if (!error) {
      guest.stream.write(line, error);
    }
  }
  const bool is_cut = static_cast<bool>(error);  // perhaps in the middle of a line
  guest.stream.set_write_deadline(weft::Clock::now() + kLastWords);
  guest.stream.write((is_cut ? "\n" : "") + guest.farewell + "\n", error);
  guest.stream.close();  // which also ends the reader
}

class ChatServer {
 public:
  ChatServer(Listener listener, std::size_t queue) : listener_(std::move(listener)), queue_(queue) {}

  [[nodiscard]] std::string address() const { return listener_.local().to_string(); }

  /// Serves until the context is done; then everybody is told, and it returns when all have gone.
  void run(const weft::Context& ctx) {
    weft::WaitGroup hub;
    hub.go([&] { hub_.run(); });
    weft::WaitGroup guests;
    std::error_code error;
    for (;;) {
      Stream stream = listener_.accept(ctx, error);
      if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system) {
        weft::sleep_for(ctx, 10ms);  // until somebody has left
        continue;
      }
      if (error) {
        break;
      }
      guests.go([this, guest = std::make_shared<Guest>(std::move(stream), queue_)] { serve(guest); });
    }
    listener_.close();
    hub_.send(Hub::What::closes, nullptr);
    guests.wait();
    hub_.close();
    hub.wait();
    if (!ctx.is_done()) {
      throw std::system_error(error, "accept");
    }
  }

  /// After run().
  [[nodiscard]] std::size_t put_out() const { return hub_.put_out(); }

 private:
  void serve(const GuestPtr& guest) {
    weft::WaitGroup writer;
    writer.go([&] { write_queue(*guest); });
    hub_.send(Hub::What::has_come, guest);
    LineReader lines(guest->stream);
    while (std::optional<std::string> line = lines.next()) {
      hub_.send(Hub::What::says, guest, std::move(*line));
    }
    hub_.send(Hub::What::has_left, guest, lines.is_too_long() ? "* that line was too long" : kBye);
    writer.wait();
  }

  Listener listener_;
  const std::size_t queue_;
  Hub hub_;
};

}  // namespace chat
