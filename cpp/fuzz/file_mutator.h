// Mutates .opq files behind their checksums: a file is taken apart into its sections, one of them is changed, and the
// whole is put together with the offsets, lengths and checksums that the new contents ask for. Every file that a target
// is given, and so every crash that is saved, is the exact input of the reader.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opq {

// The contract of LLVMFuzzerCustomMutator: changes data[size] in place to at most `max_size` bytes, returns their
// number.
std::size_t mutate_file(uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed);

}  // namespace opq
