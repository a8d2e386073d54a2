// The scenarios of a C++ program of the comparison, a list for each theme, in a file of the theme's name. A runtime that has no
// counterpart of a theme does not define its list.
#pragma once

#include <span>

#include "harness.hpp"

std::span<const compare::Scenario> goroutine_scenarios();
std::span<const compare::Scenario> channel_scenarios();
std::span<const compare::Scenario> select_scenarios();
std::span<const compare::Scenario> timer_scenarios();
std::span<const compare::Scenario> lock_scenarios();
std::span<const compare::Scenario> context_scenarios();
std::span<const compare::Scenario> pool_scenarios();
std::span<const compare::Scenario> scale_scenarios();
