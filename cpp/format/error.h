// The one exception type of the core. Messages are one line and name the file part, tensor, node or input at fault.
#pragma once

#include <stdexcept>
#include <string>

namespace opq {

enum class ErrorCode {
  kFormat,       // the bytes are not a valid .opq file
  kUnsupported,  // valid, but more than this reader can do
  kInput,        // an argument does not fit: array, shape, name, number
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(one_line(message)), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  // Names come from files: a line break in one must not break the message.
  static std::string one_line(std::string message) {
    for (char& c : message) {
      if (static_cast<unsigned char>(c) < 0x20) c = '?';
    }
    return message;
  }

  ErrorCode code_;
};

}  // namespace opq
