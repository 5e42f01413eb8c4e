// What follows for every nonzero code of a chunk from the counts and masks of its groups: where it is, and which
// probabilities its token and its sign have.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/grouped/decode_tables.h"

namespace opq::grouped {

// The groups of a chunk that are not empty.
struct FilledGroups {
  const uint32_t* filled;    // [count], see decode_tables.h
  const uint16_t* patterns;  // [count], indices of Patterns::all
  std::size_t count;
};

// By nonzero code, in the order of the stream; each array has room for kCopied elements more.
struct LocatedCodes {
  uint32_t* positions;     // in the chunk; at least kNowhere for a place beyond the row
  uint8_t* token_classes;  // index of DecodeTables::tokens
  uint8_t* sign_classes;   // index of DecodeTables::sign_frequency; not for raw signs
};

void locate(const DecodeTables& tables, FilledGroups groups, LocatedCodes codes);

// From "differs from its reference" to "is negative", for signs by kernel. negative: as LocatedCodes' arrays.
void resolve_references(const DecodeTables& tables, FilledGroups groups, const uint8_t* different, uint8_t* negative);

}  // namespace opq::grouped
