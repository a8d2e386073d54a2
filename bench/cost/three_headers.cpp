#include <chrono>
#include <memory>
#include <optional>

int main() {}
