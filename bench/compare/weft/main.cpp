// weft's half of the comparison. The files beside this one hold the scenarios, a theme each, in the same order, with the same
// names, counts and checks, as those of the same name in ../go, so that the two can be read side by side. Each scenario runs
// on a runtime of its own, whose start and stop are not measured; $WEFT_PROCS sets the processors.
#include <weft/runtime.hpp>
#include <weft/stats.hpp>

#include "../lists.hpp"

namespace {

compare::Result run(const compare::Scenario& scenario, unsigned& processors) {
  return weft::run(weft::RuntimeOptions{}, [&] {
    processors = weft::stats().processors;
    return scenario.run();
  });
}

}  // namespace

int main(int argc, char** argv) {
  const auto all = compare::join({goroutine_scenarios(), channel_scenarios(), select_scenarios(), timer_scenarios(),
                                  lock_scenarios(), context_scenarios(), pool_scenarios(), scale_scenarios()});
  // The version comes from meson.build: weft, compiler, libraries, build type.
  return compare::run_program(argc, argv, {"weft_bench", WEFT_BENCH_VERSION, "WEFT_PROCS", all, run});
}
