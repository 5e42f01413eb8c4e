// Registers for the kernels: Seq<0, 1, ..., N - 1>, whose fold expressions unroll a loop over N accumulators.
//
//   template <class V, int... I> void kernel(Seq<I...>) { V sum[sizeof...(I)]; ((sum[I] = V::zero()), ...); }
//
// Constant indices let the compiler keep every sum[I] in a register at any optimization level; a loop that it has to
// unroll first ends in memory.
#pragma once

namespace opq {

template <int... I>
struct Seq {};

template <int N, int... I>
struct MakeSeq : MakeSeq<N - 1, N - 1, I...> {};

template <int... I>
struct MakeSeq<0, I...> {
  using type = Seq<I...>;
};

template <int N>
using SeqTo = typename MakeSeq<N>::type;

}  // namespace opq
