#pragma once

// Why a goroutine is parked, in Go's words (they appear in dumps and reports).

#include <cstdint>
#include <string_view>

namespace weft::detail {

enum class WaitReason : std::uint8_t {
  kNone,
  kChanReceive,
  kChanSend,
  kChanReceiveNil,
  kChanSendNil,
  kSelect,
  kSelectNoCases,
  kSleep,
  kMutexLock,
  kWaitGroupWait,
  kRWMutexRLock,
  kRWMutexLock,
  kCondWait,
  kSemacquire,
  kOnceDo,
  kFutureWait,
  kIoWait,
  kRun,
  kTesting,
};

inline constexpr unsigned kWaitReasons = static_cast<unsigned>(WaitReason::kTesting) + 1;

std::string_view to_string(WaitReason reason) noexcept;

}  // namespace weft::detail
