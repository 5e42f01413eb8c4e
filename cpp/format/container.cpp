#include "format/container.h"

#include <set>

#include "format/crc32c.h"

namespace opq {
namespace {

constexpr char kMagic[8] = {'\x89', 'O', 'P', 'Q', '\r', '\n', '\x1a', '\n'};
constexpr std::size_t kHeaderBytes = 32, kEntryBytes = 32;
constexpr uint32_t kOptional = 1;

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::kFormat, message); }

std::string printable(std::string kind) {
  for (char& c : kind) {
    if (c < 0x20 || c > 0x7E) c = '?';
  }
  return kind;
}

struct Section {
  std::string kind;
  uint32_t flags;
  uint64_t offset, length;
  uint32_t crc;
};

Section read_entry(ByteReader& reader) {
  Section section;
  const Bytes kind = reader.bytes(4, "section kind");
  section.kind.assign(kind.begin(), kind.end());
  section.flags = reader.u32("section flags");
  section.offset = reader.u64("section offset");
  section.length = reader.u64("section length");
  section.crc = reader.u32("section checksum");
  if (section.flags & ~kOptional) reader.fail("section " + printable(section.kind) + " has unknown flags");
  if (reader.u32("reserved field") != 0) {
    reader.fail("a reserved field of section " + printable(section.kind) + " is not 0");
  }
  return section;
}

}  // namespace

Container parse_container(Bytes file) {
  if (file.size() < sizeof kMagic || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) fail("not an .opq file");
  ByteReader header(file, "header");
  header.bytes(sizeof kMagic, "magic");
  const uint16_t major = header.u16("major version");
  header.u16("minor version");
  const uint32_t count = header.u32("number of sections");
  const uint64_t total = header.u64("total length");
  const uint32_t table_crc = header.u32("checksum of the section table");
  if (header.u32("checksum of the header") != crc32c(file.first(kHeaderBytes - 4))) fail("header: wrong checksum");
  if (major != 1) {
    fail("format version " + std::to_string(major) + ": this reader knows version 1, a newer opq is needed");
  }
  if (count < 1 || count > 64) fail("header: " + std::to_string(count) + " sections, not 1 to 64");
  if (total != file.size()) {
    fail("the file has " + std::to_string(file.size()) + " bytes, its header says " + std::to_string(total));
  }
  if (file.size() < kHeaderBytes + count * kEntryBytes) fail("the section table is cut off");
  const Bytes table = file.subspan(kHeaderBytes, count * kEntryBytes);
  if (table_crc != crc32c(table)) fail("section table: wrong checksum");

  Container container;
  ByteReader reader(table, "section table");
  std::set<std::string> kinds;
  bool has_tensors = false, has_data = false;
  uint64_t end = kHeaderBytes + table.size();
  for (uint32_t i = 0; i < count; ++i) {
    const Section section = read_entry(reader);
    const std::string name = "section " + printable(section.kind);
    if (!kinds.insert(section.kind).second) fail(name + " occurs twice");
    const uint64_t begin = (end + 7) / 8 * 8;
    if (section.offset != begin) {
      fail(name + " starts at byte " + std::to_string(section.offset) + ", not " + std::to_string(begin));
    }
    if (begin > file.size() || section.length > file.size() - begin) fail(name + " is cut off");
    for (; end < begin; ++end) {
      if (file[end] != 0) fail("the padding before " + name + " is not 0");
    }
    end = begin + section.length;
    const Bytes content = file.subspan(begin, section.length);
    if (crc32c(content) != section.crc) fail(name + ": wrong checksum");

    if (section.kind == "TENS") {
      has_tensors = true;
      container.tensors = content;
    } else if (section.kind == "DATA") {
      has_data = true;
      container.data = content;
    } else if (section.kind == "GRPH") {
      container.has_graph = true;
      container.graph = content;
    } else if (section.kind == "ACTV") {
      container.has_ranges = true;
      container.ranges = content;
    } else if (section.kind != "REPT" && !(section.flags & kOptional)) {
      fail(name + " is unknown and needed: a newer opq is needed");
    }
  }
  if (end != total) fail("the last section ends at byte " + std::to_string(end) + ", not at the end of the file");
  if (!has_tensors) fail("section TENS is missing");
  if (!has_data) fail("section DATA is missing");
  return container;
}

}  // namespace opq
