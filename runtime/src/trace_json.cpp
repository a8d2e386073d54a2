#include "trace_json.hpp"

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "symbols.hpp"
#include "weft/detail/wait_reason.hpp"

namespace weft::detail {
namespace {

/// The length of the UTF-8 character that the text begins with; 0: it begins with none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (length == 1) return 1;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Too long a form, a half of a surrogate pair, or beyond the last character.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
  return length;
}

/// As JSON wants it, without the quotes; what is no UTF-8 (a name that was cut, say) becomes U+FFFD.
std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(c));
      out += code.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string_view reason_text(std::uint8_t left) {
  switch (left) {
    case TraceDetail::kYielded:
      return "yield";
    case TraceDetail::kEnded:
      return "ended";
    case TraceDetail::kTaken:
      return "its processor was taken";
    case TraceDetail::kStillRuns:
      return "still running";
    case TraceDetail::kGotProcessor:
      return "it got a processor";
    default:
      return to_string(static_cast<WaitReason>(left));
  }
}

class Writer {
 public:
  Writer(const TraceTimeline& timeline, TextSink& sink) : timeline_(timeline), sink_(sink) {}

  void write() {
    text_ = "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"by\":\"weft\",\"process\":";
    number(static_cast<std::uint64_t>(getpid()));
    text_ += ",\"steady_ns\":";
    number(static_cast<std::uint64_t>(timeline_.begin_ns));
    text_ += ",\"lost_events\":";
    number(timeline_.lost);
    text_ += ",\"unexplained_events\":";
    number(timeline_.unexplained);
    text_ += "},\n\"traceEvents\":[";
    for (std::size_t i = 0; i < timeline_.tracks.size(); ++i) name_track(i);
    for (std::size_t i = 0; i < timeline_.slices.size(); ++i) slice(i);
    for (const TraceInstant& at : timeline_.instants) instant(at);
    text_ += "\n]}\n";
    sink_.take(text_);
  }

 private:
  void number(std::uint64_t n) {
    std::array<char, 24> digits;
    text_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr);
  }
  /// Microseconds with three digits behind the point.
  void micros(std::int64_t ns) {
    number(static_cast<std::uint64_t>(ns / 1000));
    const auto rest = static_cast<unsigned>(ns % 1000);
    const char digits[] = {'.', static_cast<char>('0' + rest / 100), static_cast<char>('0' + rest / 10 % 10),
                           static_cast<char>('0' + rest % 10)};
    text_.append(digits, sizeof digits);
  }
  void begin_event(std::string_view phase, std::size_t track) {
    constexpr std::size_t kPiece = 65'536;
    if (text_.size() >= kPiece) {
      sink_.take(text_);
      text_.clear();
    }
    text_ += is_first_ ? "\n{\"ph\":\"" : ",\n{\"ph\":\"";
    is_first_ = false;
    text_ += phase;
    text_ += "\",\"pid\":";
    number(timeline_.tracks[track].runtime);
    text_ += ",\"tid\":";
    number(thread_number(timeline_.tracks[track]));
  }
  void begin_event(std::string_view phase, std::size_t track, std::int64_t ns) {
    begin_event(phase, track);
    text_ += ",\"ts\":";
    micros(ns - timeline_.begin_ns);
  }

  /// Processors come first, then threads: ours, and the others by their kernel's numbers.
  static std::uint64_t thread_number(const TraceTrackId& track) {
    constexpr std::uint64_t kWorkers = 10'000;
    constexpr std::uint64_t kThreads = 1'000'000;
    switch (track.kind) {
      case TraceTrackId::Kind::kProcessor:
        return 1 + track.number;
      case TraceTrackId::Kind::kWorker:
        return kWorkers + track.number;
      case TraceTrackId::Kind::kThread:
        break;
    }
    return kThreads + track.number;
  }

  void name_track(std::size_t i) {
    const TraceTrackId& track = timeline_.tracks[i];
    if (!named_runtimes_[track.runtime]) {
      named_runtimes_[track.runtime] = true;
      begin_event("M", i);
      text_ += ",\"name\":\"process_name\",\"args\":{\"name\":\"weft runtime\"}}";
    }
    begin_event("M", i);
    text_ += ",\"name\":\"thread_name\",\"args\":{\"name\":\"";
    switch (track.kind) {
      case TraceTrackId::Kind::kProcessor:
        text_ += "processor ";
        number(track.number);
        break;
      case TraceTrackId::Kind::kWorker:
        text_ += "thread weft-";
        number(track.number);
        text_ += ", without a processor";
        break;
      case TraceTrackId::Kind::kThread:
        text_ += "other thread ";
        number(track.number);
        break;
    }
    text_ += "\"}}";
    begin_event("M", i);
    text_ += ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":";
    number(thread_number(track));
    text_ += "}}";
  }

  void slice(std::size_t i) {
    const TraceSlice& s = timeline_.slices[i];
    begin_event("X", s.track, s.begin_ns);
    text_ += ",\"dur\":";
    micros(s.end_ns - s.begin_ns);
    if (s.goroutine == 0) {
      text_ += ",\"cat\":\"thread\",\"name\":\"wakes\"}";
      return;
    }
    text_ += ",\"cat\":\"goroutine\",\"name\":\"";
    text_ += label(s.goroutine, s.run);
    text_ += "\",\"args\":{\"goroutine\":";
    number(s.goroutine);
    text_ += ",\"then\":\"";
    text_ += reason_text(s.left);
    text_ += '"';
    if (s.ready_ns != 0) readiness(s);
    const std::string& site = site_of(s.goroutine);
    if (!site.empty()) text_ += ",\"created_by\":\"" + site + "\"";
    text_ += "}}";
    if (s.waker_slice != TraceSlice::kNone) arrow(i);
  }

  void readiness(const TraceSlice& s) {
    text_ += ",\"waited_us\":";
    micros(s.begin_ns - s.ready_ns);
    text_ += s.was_spawned ? ",\"started_by\":\"" : ",\"woken_by\":\"";
    switch (s.cause) {
      case TraceDetail::kYielded:
        text_ += "its yield";
        break;
      case TraceDetail::kByTimer:
        text_ += "a timer";
        break;
      case TraceDetail::kByThread:
        text_ += "thread ";
        number(s.waker);
        break;
      case TraceDetail::kByRuntime:
        text_ += "the runtime";
        break;
      default:
        text_ += "goroutine ";
        number(s.waker);
        break;
    }
    text_ += '"';
  }

  /// From inside the waker's slice to where the woken's begins.
  void arrow(std::size_t i) {
    const TraceSlice& woken = timeline_.slices[i];
    const TraceSlice& waker = timeline_.slices[woken.waker_slice];
    const std::string_view name = woken.was_spawned ? "start" : "wake";
    const auto add = [&](std::string_view phase, std::size_t track, std::int64_t ns) {
      begin_event(phase, track, ns);
      text_ += ",\"cat\":\"wake\",\"name\":\"";
      text_ += name;
      text_ += "\",\"id\":";
      number(i + 1);
      text_ += '}';
    };
    add("s", waker.track, woken.ready_ns);
    add("f\",\"bp\":\"e", woken.track, woken.begin_ns);
  }

  void instant(const TraceInstant& at) {
    begin_event("i", at.track, at.ns);
    text_ += ",\"s\":\"t\",\"name\":\"";
    if (at.kind == TraceKind::kLog) {
      text_ += escaped(at.text) + "\",\"cat\":\"log\",\"args\":{\"goroutine\":";
      number(at.who);
      text_ += "}}";
      return;
    }
    text_ += "steal\",\"cat\":\"scheduler\",\"args\":{\"goroutine\":";
    number(at.who);
    text_ += ",\"from_processor\":";
    number(at.victim);
    text_ += "}}";
  }

  /// Its name, else its function's, else who started it; and its number.
  const std::string& label(std::uint64_t goroutine, const void* run) {
    std::string& label = labels_[goroutine];
    if (!label.empty()) return label;
    const auto known = timeline_.names.find(goroutine);
    if (known != timeline_.names.end() && !known->second.name.empty()) {
      label = escaped(known->second.name);
    } else {
      label = function_name(run);
      const std::string& site = site_of(goroutine);
      if (label.empty() && !site.empty()) label = "by " + site;
      if (label.empty()) label = "goroutine";
    }
    label += " #" + std::to_string(goroutine);
    return label;
  }

  /// Of a goroutine's function; empty if it is not known: a pointer, whose type says nothing.
  const std::string& function_name(const void* run) {
    const auto [at, is_new] = functions_.try_emplace(run);
    if (!is_new || run == nullptr) return at->second;
    const Symbol symbol = find_symbol(static_cast<const std::byte*>(run) + 1);
    if (symbol.mangled.empty()) return at->second;
    const std::string name = name_of(symbol);
    if (name.find("(&)(") == std::string::npos && name.find("(*)(") == std::string::npos) at->second = escaped(name);
    return at->second;
  }

  /// Who called go(), without the place inside; empty: not known.
  const std::string& site_of(std::uint64_t goroutine) {
    const auto known = timeline_.names.find(goroutine);
    const void* address = known == timeline_.names.end() ? nullptr : known->second.spawn_site;
    const auto [at, is_new] = sites_.try_emplace(address);
    if (!is_new || address == nullptr) return at->second;
    const Symbol symbol = find_symbol(address);
    at->second = escaped(symbol.mangled.empty() ? describe_address(address) : name_of(symbol));
    return at->second;
  }

  const TraceTimeline& timeline_;
  TextSink& sink_;
  std::string text_;
  bool is_first_ = true;
  std::unordered_map<std::uint32_t, bool> named_runtimes_;
  std::unordered_map<std::uint64_t, std::string> labels_;
  std::unordered_map<const void*, std::string> functions_;
  std::unordered_map<const void*, std::string> sites_;
};

}  // namespace

void write_trace_json(const TraceTimeline& timeline, TextSink& sink) { Writer(timeline, sink).write(); }

}  // namespace weft::detail
