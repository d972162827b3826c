#include "simulate/gzip.h"

#include <doctest/doctest.h>

#include <array>
#include <random>

namespace edgemoe {
namespace {

constexpr uint64_t kMost = 1 << 20;

std::string bytes_of(const char * hex) {
    std::string bytes;
    for (size_t i = 0; hex[i] != '\0'; i += 2) {
        bytes.push_back(static_cast<char>(std::stoi(std::string(hex + i, 2), nullptr, 16)));
    }
    return bytes;
}

std::string repeated(const std::string & text, size_t n_times) {
    std::string all;
    for (size_t i = 0; i < n_times; ++i) {
        all += text;
    }
    return all;
}

// Written by Python's gzip and zlib, with their times set to 0.
const std::string kStored = bytes_of("1f8b08000000000000ff010700f8ff726f7574696e67fab9f8a507000000");
const std::string kFixed = bytes_of(
    "1f8b08000000000000ff2bca2f2dc9cc4b57281aa547e9517a941ea547e9517a941ea547e9517a941ea547e9517a941ea547"
    "e9517a941ea547e9517a941ea547e9517a941ea547e9114c0300a635a412401f0000");  // 1000 x "routing "
const std::string kDynamic = bytes_of(
    "1f8b08000000000000ff35d03b0ec4201004d1dc6721a067f8deff628ba67ae584965ce889ded43adfd7df592dde39778d68"
    "e38d3d6a64fd29a9d678bbb7209a75c1245a75c325da7543d6f9d40583e456bf49844022128820138a651f8ceb10c662c018"
    "ce701c6740247758c221984518c674ca00731958065d6039eeb0c86f1268c2219ae5d09aee128d82856610269a439860e4a7"
    "4938499870964373ba4b389a2c38d3219ce3f0af710827e7f703c2ed45372b020000");  // 40 lines of a trace
const std::string kNamed = bytes_of(
    "1f8b081e0000000000ff03006162636e616d6500636f6d6d656e740000002bca2f2dc9cc4b0700fab9f8a507000000");  // a file name,
                                                                                                        // a comment and
                                                                                                        // an extra
                                                                                                        // field in the
                                                                                                        // header

std::string trace_lines() {
    std::string text;
    for (int i = 0; i < 40; ++i) {
        text +=
            "0,1," + std::to_string(i) + "," + std::to_string(i * 7 % 5) + ",0," + std::to_string(i * 37 % 128) + "\n";
    }
    return text;
}

void check_unpacks(const std::string & packed, const std::string & expected) {
    const Result<std::string> text = unpack_gzip(packed, kMost, "t.gz");
    REQUIRE_MESSAGE(text.is_ok(), text.status().message());
    CHECK(text.value() == expected);
}

void check_refused(const std::string & packed, const std::string & reason, uint64_t most_bytes = kMost) {
    const Result<std::string> text = unpack_gzip(packed, most_bytes, "t.gz");
    REQUIRE_FALSE(text.is_ok());
    CHECK(text.status().code() == StatusCode::kFormat);
    CHECK(text.status().message().find("t.gz: ") == 0);
    CHECK(text.status().message().find(reason) != std::string::npos);
}

TEST_CASE("EveryKindOfBlockIsUnpacked") {
    check_unpacks(kStored, "routing");
    check_unpacks(kFixed, repeated("routing ", 1000));
    check_unpacks(kDynamic, trace_lines());
    check_unpacks(kNamed, "routing");
}

TEST_CASE("MembersFollowEachOther") {
    check_unpacks(kStored + kNamed, "routingrouting");
    check_refused(kStored + "more", "damaged");
}

TEST_CASE("OnlyGzipIsTakenForGzip") {
    CHECK(is_gzip(kStored));
    CHECK_FALSE(is_gzip("turn,phase"));
    CHECK_FALSE(is_gzip(""));
    check_refused("turn,phase", "damaged");
}

TEST_CASE("ATruncatedFileIsRefusedWhereverItEnds") {
    for (const std::string & packed : {kStored, kFixed, kDynamic, kNamed}) {
        for (size_t size = 3; size < packed.size(); ++size) {
            CAPTURE(size);
            check_refused(packed.substr(0, size), "ends too early");
        }
    }
}

TEST_CASE("ADamagedFileIsNeverTakenForAnother") {
    // A few bits mean nothing: those behind the last block, and lengths of codes that do not occur.
    std::mt19937 random(5);
    int n_refused = 0;
    for (int i = 0; i < 2000; ++i) {
        std::string packed = kDynamic;
        const size_t at = 10 + random() % (packed.size() - 10);
        packed[at] = static_cast<char>(packed[at] ^ (1U << random() % 8));
        CAPTURE(at);
        const Result<std::string> text = unpack_gzip(packed, kMost, "t.gz");
        n_refused += text.is_ok() ? 0 : 1;
        CHECK((!text.is_ok() || text.value() == trace_lines()));
    }
    CHECK(n_refused > 1900);
}

TEST_CASE("OutputIsBounded") {
    check_refused(kFixed, "more than 7999 bytes", 7999);
    check_unpacks(kFixed, repeated("routing ", 1000));
}

}  // namespace
}  // namespace edgemoe
