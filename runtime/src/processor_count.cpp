#include "processor_count.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace weft::detail {
namespace {

unsigned affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(getpid(), sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The quota of the leaf cgroup the process is in, as v2's "<quota> <period>".
std::string cgroup_quota() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      const std::string quota = first_line("/sys/fs/cgroup" + path + "/cpu.max");
      if (!quota.empty()) return quota;
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      const std::string folder = "/sys/fs/cgroup/cpu" + path;
      const std::string quota = first_line(folder + "/cpu.cfs_quota_us");
      if (!quota.empty() && quota[0] != '-') return quota + " " + first_line(folder + "/cpu.cfs_period_us");
    }
  }
  return "";
}

}  // namespace

std::optional<unsigned> cpus_of_quota(const std::string& text) {
  std::istringstream in(text);
  double quota = 0;
  double period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  const auto cpus = static_cast<unsigned>(std::min((quota + period - 1) / period, double{kMostProcessors}));
  return std::max(cpus, 2U);
}

unsigned processors_from_environment() {
  const char* text = std::getenv("WEFT_PROCS");
  if (text == nullptr || *text == '\0') return 0;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0' || value < 1 || value > long{kMostProcessors}) {
    throw std::invalid_argument("weft: WEFT_PROCS=" + std::string(text) + ": expected a number from 1 to " +
                                std::to_string(kMostProcessors));
  }
  return static_cast<unsigned>(value);
}

unsigned default_processor_count() {
  if (const unsigned wanted = processors_from_environment()) return wanted;
  const unsigned cpus = std::min(affinity_cpus(), kMostProcessors);
  const std::optional<unsigned> quota = cpus_of_quota(cgroup_quota());
  return quota ? std::min(cpus, *quota) : cpus;
}

}  // namespace weft::detail
