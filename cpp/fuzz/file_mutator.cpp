#include "fuzz/file_mutator.h"

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "format/crc32c.h"

extern "C" std::size_t LLVMFuzzerMutate(uint8_t* data, std::size_t size, std::size_t max_size);

namespace opq {
namespace {

constexpr std::size_t kHeaderBytes = 32, kEntryBytes = 32, kMaxSections = 64;

struct Section {
  std::array<uint8_t, 8> kind_and_flags;
  std::vector<uint8_t> content;
};

template <typename T>
void store(std::vector<uint8_t>& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

// Empty where the section table does not lie inside of the file.
std::vector<Section> take_apart(Bytes file) {
  if (file.size() < kHeaderBytes) return {};
  const uint32_t count = load<uint32_t>(file.data() + 12);
  if (count > kMaxSections || file.size() < kHeaderBytes + count * kEntryBytes) return {};
  std::vector<Section> sections;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* entry = file.data() + kHeaderBytes + i * kEntryBytes;
    const uint64_t offset = load<uint64_t>(entry + 8), length = load<uint64_t>(entry + 16);
    if (offset > file.size() || length > file.size() - offset) return {};
    const Bytes content = file.subspan(offset, length);
    Section section{{}, {content.begin(), content.end()}};
    std::copy_n(entry, section.kind_and_flags.size(), section.kind_and_flags.begin());
    sections.push_back(std::move(section));
  }
  return sections;
}

// `header` gives magic and versions.
std::vector<uint8_t> put_together(Bytes header, const std::vector<Section>& sections) {
  std::vector<uint8_t> file(header.begin(), header.begin() + kHeaderBytes);
  file.resize(kHeaderBytes + sections.size() * kEntryBytes);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const Section& section = sections[i];
    file.resize((file.size() + 7) / 8 * 8);
    const std::size_t entry = kHeaderBytes + i * kEntryBytes;
    std::copy(section.kind_and_flags.begin(), section.kind_and_flags.end(), file.begin() + entry);
    store(file, entry + 8, uint64_t{file.size()});
    store(file, entry + 16, uint64_t{section.content.size()});
    store(file, entry + 24, crc32c(section.content));
    file.insert(file.end(), section.content.begin(), section.content.end());
  }
  store(file, 12, static_cast<uint32_t>(sections.size()));
  store(file, 16, uint64_t{file.size()});
  store(file, 24, crc32c(Bytes(file).subspan(kHeaderBytes, sections.size() * kEntryBytes)));
  store(file, 28, crc32c(Bytes(file).first(kHeaderBytes - 4)));
  return file;
}

void mutate(std::vector<uint8_t>& bytes, std::size_t max_size) {
  const std::size_t size = bytes.size();
  bytes.resize(std::max(size, max_size));
  bytes.resize(LLVMFuzzerMutate(bytes.data(), size, bytes.size()));
}

// Changes some bytes and no length: most of the numbers in a file are small ones, and most insertions break its
// structure.
void tweak(std::vector<uint8_t>& bytes, std::minstd_rand& random) {
  if (bytes.empty()) return;
  for (unsigned left = 1 + random() % 3; left > 0; --left) {
    uint8_t& byte = bytes[random() % bytes.size()];
    switch (random() % 4) {
      case 0:
        byte = static_cast<uint8_t>(random() % 10);
        break;
      case 1:
        byte = static_cast<uint8_t>(byte + (random() % 2 == 0 ? 1 : -1));
        break;
      case 2:
        byte = static_cast<uint8_t>(byte ^ 1u << random() % 8);
        break;
      default:
        byte = random() % 2 == 0 ? 0xFF : 0x7F;
        break;
    }
  }
}

}  // namespace

std::size_t mutate_file(uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  std::vector<Section> sections = take_apart({data, size});
  // Now and then without new checksums, to test those.
  if (sections.empty() || one_in(64)) return LLVMFuzzerMutate(data, size, max_size);

  const std::size_t i = random() % sections.size();
  if (one_in(64)) {
    LLVMFuzzerMutate(sections[i].kind_and_flags.data(), sections[i].kind_and_flags.size(), 8);
  } else if (one_in(64)) {
    sections.erase(sections.begin() + static_cast<std::ptrdiff_t>(i));
  } else if (one_in(2)) {
    tweak(sections[i].content, random);
  } else {
    const std::size_t room = max_size > size ? max_size - size : 0;
    mutate(sections[i].content, sections[i].content.size() + room);
  }
  const std::vector<uint8_t> file = put_together({data, size}, sections);
  if (file.size() > max_size) return size;
  std::copy(file.begin(), file.end(), data);
  return file.size();
}

}  // namespace opq
