// A variable of the environment that children started meanwhile inherit.
#pragma once

#include <cstdlib>
#include <string>

namespace maru::test {

// Concurrency: while it comes and goes no other thread reads the environment.
class environment_variable {
public:
  environment_variable(const char* name, const std::string& value) : name_(name) {
    if (const char* was = std::getenv(name)) {
      before_ = was;
      was_set_ = true;
    }
    ::setenv(name, value.c_str(), 1);
  }
  ~environment_variable() {
    if (was_set_)
      ::setenv(name_, before_.c_str(), 1);
    else
      ::unsetenv(name_);
  }
  environment_variable(const environment_variable&) = delete;

private:
  const char* name_;
  std::string before_;
  bool was_set_ = false;
};

}  // namespace maru::test
