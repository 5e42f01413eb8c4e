// How far two threads are apart.
#pragma once

#include <optional>

namespace opq {

// Seconds in which a cache line goes from one thread to another and back, the median of some rounds: some 85 ns where
// their cores share a cache, several times that where they do not. Layers in which threads read what others have
// written take accordingly longer. None where there is no second core, or it is busy.
std::optional<double> round_trip_seconds();

}  // namespace opq
