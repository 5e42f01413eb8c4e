// The floating-point environment of a calculation: round to nearest, denormals kept, no traps.
#pragma once

#include <cfenv>

namespace opq {

// Sets the default environment as long as it lives. A caller may have another one (a library that was linked with
// -ffast-math flushes denormals to zero), and its threads would then compute other bits than those of the pool.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace opq
