// mutex_vs_channel: the same bank kept by atomics, a mutex and an owner behind a channel: what an operation costs

// There is no original in the article, only its proverb: "Don't communicate by sharing memory, share memory by
// communicating". Here are both, and what sits between and below them. All move the same amounts between the same
// accounts, so all must end with the same balances; meanwhile an auditor adds up the accounts, and the sum must be what
// it was at the start. Whether the auditor can rely on that is the difference that no time shows.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/numbers.hpp"

namespace {

using examples::grouped;
using Balances = std::vector<std::int64_t>;

constexpr std::size_t kAccounts = 8;
constexpr std::int64_t kStart = 1'000;

struct Transfer {
  std::size_t from;
  std::size_t to;
  std::int64_t amount;
};

/// The i-th transfer of a teller; every bank gets the same ones.
Transfer transfer_of(std::size_t teller, std::size_t i) {
  const std::size_t from = (teller + i) % kAccounts;
  return {from, (from + 1 + i % (kAccounts - 1)) % kAccounts, static_cast<std::int64_t>(i % 10)};
}

std::int64_t sum(const Balances& balances) {
  return std::accumulate(balances.begin(), balances.end(), std::int64_t{0});
}

// Each account is a word of its own. Nothing waits, but nothing ties two accounts together either.
class AtomicBank {
 public:
  AtomicBank() {
    for (auto& account : accounts_) {
      account.store(kStart, std::memory_order_relaxed);  // relaxed: nobody else has it yet
    }
  }

  void transfer(const Transfer& t) {
    // relaxed: counters; the WaitGroup orders them before the last look
    accounts_[t.from].fetch_sub(t.amount, std::memory_order_relaxed);
    accounts_[t.to].fetch_add(t.amount, std::memory_order_relaxed);
  }

  Balances balances() {
    Balances seen;
    for (const auto& account : accounts_) {
      seen.push_back(account.load(std::memory_order_relaxed));  // relaxed: as above
    }
    return seen;
  }

 private:
  std::atomic<std::int64_t> accounts_[kAccounts];
};

// Sharing memory: whoever holds the mutex has all accounts to itself.
class MutexBank {
 public:
  void transfer(const Transfer& t) {
    const std::lock_guard lock(mutex_);
    accounts_[t.from] -= t.amount;
    accounts_[t.to] += t.amount;
  }

  Balances balances() {
    const std::lock_guard lock(mutex_);
    return accounts_;
  }

 private:
  weft::Mutex mutex_;
  Balances accounts_ = Balances(kAccounts, kStart);  // guarded by mutex_
};

// A channel used as a mutex: whoever has put a token into it has the accounts. Unlike a mutex it may stand in a select.
class TokenBank {
 public:
  void transfer(const Transfer& t) {
    token_.send({});
    accounts_[t.from] -= t.amount;
    accounts_[t.to] += t.amount;
    token_.recv();
  }

  Balances balances() {
    token_.send({});
    Balances copy = accounts_;
    token_.recv();
    return copy;
  }

 private:
  weft::Chan<weft::Unit> token_ = weft::make_chan<weft::Unit>(1);
  Balances accounts_ = Balances(kAccounts, kStart);  // guarded by token_
};

// Communicating: the accounts are variables of one goroutine, and requests come to it one by one.
class OwnerBank {
 public:
  /// The queue: how far tellers may run ahead of the owner. They wait for an answer only if told to.
  OwnerBank(std::size_t queue, bool is_answering)
      : is_answering_(is_answering), requests_(weft::make_chan<Request>(queue)) {
    owner_.go([requests = weft::RecvChan<Request>(requests_)] { serve(requests); });
  }
  ~OwnerBank() {
    requests_.close();
    owner_.wait();
  }
  OwnerBank(const OwnerBank&) = delete;
  OwnerBank& operator=(const OwnerBank&) = delete;

  void transfer(const Transfer& t) {
    if (is_answering_) {
      auto done = weft::make_chan<weft::Unit>();
      requests_.send({t, done, nullptr});
      done.recv();
    } else {
      requests_.send({t, nullptr, nullptr});
    }
  }

  /// Behind what this goroutine has sent before: the queue is first in, first out.
  Balances balances() {
    auto answer = weft::make_chan<Balances>();
    requests_.send({{}, nullptr, answer});
    return *answer.recv();
  }

 private:
  struct Request {
    Transfer transfer;
    weft::SendChan<weft::Unit> done;    // nil: no answer wanted
    weft::SendChan<Balances> balances;  // nil: it is a transfer
  };

  static void serve(const weft::RecvChan<Request>& requests) {
    Balances accounts(kAccounts, kStart);  // nobody else can even name them
    for (const Request& request : requests) {
      if (request.balances != nullptr) {
        request.balances.send(accounts);
        continue;
      }
      accounts[request.transfer.from] -= request.transfer.amount;
      accounts[request.transfer.to] += request.transfer.amount;
      if (request.done != nullptr) {
        request.done.send({});
      }
    }
  }

  bool is_answering_;
  weft::Chan<Request> requests_;
  weft::WaitGroup owner_;
};

struct Row {
  Balances balances;
  double ns_per_transfer = std::numeric_limits<double>::infinity();
  std::size_t audits = 0;
  std::size_t wrong_audits = 0;
};

/// Sums up the accounts, again and again, until ctx is done.
template <class Bank>
void audit(const weft::Context& ctx, Bank& bank, Row& row) {
  do {
    ++row.audits;
    if (sum(bank.balances()) != kStart * static_cast<std::int64_t>(kAccounts)) {
      ++row.wrong_audits;
    }
  } while (weft::sleep_for(ctx, std::chrono::microseconds(50)));
}

template <class Bank>
void run_bank(Bank& bank, std::size_t tellers, std::size_t transfers, Row& row) {
  const auto [ctx, cancel] = weft::with_cancel(weft::background());
  weft::WaitGroup auditor;
  auditor.go([&, ctx = ctx] { audit(ctx, bank, row); });

  const auto start = std::chrono::steady_clock::now();
  weft::WaitGroup wg;
  for (std::size_t teller = 0; teller < tellers; ++teller) {
    wg.go([&, teller] {
      for (std::size_t i = 0; i < transfers; ++i) {
        bank.transfer(transfer_of(teller, i));
      }
    });
  }
  wg.wait();
  row.balances = bank.balances();  // also waits for the owner to have done all that is queued
  const double ns = examples::seconds_since(start) * 1e9 / static_cast<double>(tellers * transfers);
  row.ns_per_transfer = std::min(row.ns_per_transfer, ns);

  cancel();
  auditor.wait();
}

class Table {
 public:
  Table(std::size_t tellers, std::size_t transfers, examples::Check& check)
      : tellers_(tellers), transfers_(transfers), check_(check), expected_(kAccounts, kStart) {
    for (std::size_t teller = 0; teller < tellers; ++teller) {
      for (std::size_t i = 0; i < transfers; ++i) {
        const Transfer t = transfer_of(teller, i);
        expected_[t.from] -= t.amount;
        expected_[t.to] += t.amount;
      }
    }
    std::printf("%-32s %13s  %-9s %s\n", "the bank is kept by", "per transfer", "balances", "sums that were wrong");
  }

  /// Three banks, one after the other; the fastest counts, as other programs have disturbed it least.
  template <class Bank, class... Args>
  void add(const char* name, bool is_sum_exact, const Args&... args) {
    Row row;
    bool is_same = true;
    for (int round = 0; round < 3; ++round) {
      Bank bank(args...);
      run_bank(bank, tellers_, transfers_, row);
      is_same = is_same && row.balances == expected_;
    }
    std::printf("%-32s %10.1f ns  %-9s %s of %s\n", name, row.ns_per_transfer, is_same ? "right" : "WRONG",
                grouped(row.wrong_audits).c_str(), grouped(row.audits).c_str());
    check_.expect(is_same, std::string(name) + ": the balances are those of a bank without concurrency");
    check_.expect(!is_sum_exact || row.wrong_audits == 0, std::string(name) + ": the auditor always saw the same sum");
  }

 private:
  std::size_t tellers_;
  std::size_t transfers_;
  examples::Check& check_;
  Balances expected_;
};

void compare(std::size_t tellers, std::size_t transfers, examples::Check& check) {
  std::printf("%s goroutines make %s transfers each between %zu accounts, on %u processors\n\n",
              grouped(tellers).c_str(), grouped(transfers).c_str(), kAccounts, weft::stats().processors);
  Table table(tellers, transfers, check);
  table.add<AtomicBank>("atomics", false);
  table.add<MutexBank>("a mutex", true);
  table.add<TokenBank>("a channel of one token", true);
  table.add<OwnerBank>("an owner, queue of 128", true, 128U, false);
  table.add<OwnerBank>("an owner, no queue", true, 0U, false);
  table.add<OwnerBank>("an owner that answers each", true, 0U, true);

  std::printf(
      "\nAtomics: for single words, such as counters; two of them never change at once, so a sum over them may be "
      "off.\n"
      "A mutex: for state that several goroutines look at and change in place, briefly; the usual choice for a cache.\n"
      "A channel as a token: when waiting for the lock must stand in a select, with a timeout or a context.\n"
      "An owner: when data is handed on rather than shared, or its keeper has a life of its own (timers, order,\n"
      "back-pressure); a queue makes it cheap where nobody waits for the answer.\n");
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "mutex_vs_channel",
      "Keeps a small bank by atomics, by a mutex, by a channel used as a lock and by a goroutine that owns it; the "
      "same\n"
      "transfers each time. Prints a table of what a transfer costs and whether an auditor can trust the sum.");
  std::size_t tellers = 8;
  std::size_t transfers = 20'000;
  command_line.number("--goroutines", tellers, "How many goroutines make transfers", 1, 10'000);
  command_line.number("--transfers", transfers, "How many transfers each of them makes", 1, 10'000'000);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("mutex_vs_channel");
      compare(tellers, transfers, check);
      std::printf("%s goroutines left over\n", grouped(check.left_over()).c_str());
      return check.exit_status();
    });
  });
}
