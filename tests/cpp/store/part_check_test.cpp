#include "store/part_check.h"

#include "faulty_reader.h"
#include "storage/crc32c.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr size_t kPiece = 100;

std::vector<std::byte> matrix_of(size_t bytes) {
    std::vector<std::byte> matrix(bytes);
    for (size_t i = 0; i < bytes; ++i) {
        matrix[i] = pattern_byte(i);
    }
    return matrix;
}

ExpertPart part_of(const std::vector<std::byte> & matrix) {
    ExpertPart part;
    part.present = true;
    part.offset = 12345;
    part.bytes = matrix.size();
    part.checksum = crc32c(matrix.data(), matrix.size());
    return part;
}

// Brings the pieces in the given order; the last piece's Status.
Status read(PartCheck * check, const ExpertPart & part, const std::vector<std::byte> & matrix,
            const std::vector<size_t> & pieces) {
    check->begin();
    Status status;
    for (size_t i = 0; i < pieces.size(); ++i) {
        REQUIRE_MESSAGE(status.is_ok(), "only the last piece completes the matrix");
        status = check->add(part, "m.gguf", pieces[i] * kPiece, matrix.data() + pieces[i] * kPiece, kPiece);
    }
    return status;
}

}  // namespace

TEST_CASE("AWholeMatrixIsAcceptedInAnyOrderOfItsPieces") {
    const std::vector<std::byte> matrix = matrix_of(4 * kPiece);
    for (const std::vector<size_t> & order : {std::vector<size_t>{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}}) {
        PartCheck check;
        CHECK(read(&check, part_of(matrix), matrix, order).is_ok());
    }
}

TEST_CASE("AFlippedBitInAnyPieceIsReportedWithThePlace") {
    const std::vector<std::byte> matrix = matrix_of(4 * kPiece);
    const ExpertPart part = part_of(matrix);
    for (const size_t at : {size_t{0}, size_t{150}, 4 * kPiece - 1}) {
        std::vector<std::byte> damaged = matrix;
        damaged[at] ^= std::byte{1};
        PartCheck check;
        const Status status = read(&check, part, damaged, {1, 3, 0, 2});
        CHECK(status.code() == StatusCode::kFormat);
        CHECK(status.message().find("m.gguf: the 400 bytes at offset 12345 are damaged") == 0);
        CHECK(read(&check, part, matrix, {0, 1, 2, 3}).is_ok());  // the next reading begins from nothing
    }
}

TEST_CASE("AReadingThatWasGivenUpDoesNotCountForTheNext") {
    const std::vector<std::byte> matrix = matrix_of(3 * kPiece);
    const ExpertPart part = part_of(matrix);
    PartCheck check;
    CHECK(read(&check, part, matrix, {0, 2}).is_ok());
    CHECK(read(&check, part, matrix, {0, 1, 2}).is_ok());
}

TEST_CASE("WhatWasRightOnceIsTakenOnTrust") {
    const std::vector<std::byte> matrix = matrix_of(kPiece);
    PartCheck check;
    CHECK(read(&check, part_of(matrix), matrix, {0}).is_ok());
    CHECK(read(&check, part_of(matrix), matrix_of(2 * kPiece), {1}).is_ok());
}

TEST_CASE("AMatrixWithoutAChecksumIsNotCompared") {
    std::vector<std::byte> matrix = matrix_of(kPiece);
    ExpertPart part = part_of(matrix);
    part.checksum.reset();
    matrix[0] ^= std::byte{1};
    PartCheck check;
    CHECK(read(&check, part, matrix, {0}).is_ok());
}

TEST_CASE("AStoreReportsADamagedMatrixWithItsNameAndReadsItAnew") {
    Shape shape;
    shape.rows = 128;
    shape.row_bytes = 20'000;  // several reads a matrix
    const ExpertFile file(shape, ExpertFile::Checksums::kKept);
    for (const uint64_t corrupt : {0, 1, 4}) {
        CAPTURE(corrupt);
        FaultPlan plan;
        plan.seed = 5;
        plan.corrupt_read = corrupt;
        plan.reorder = true;
        const auto store = file.make_store(4, std::make_unique<FaultyReader>(make_engine("threads", 2), plan));
        const Status status = serve(file, *store, 1, kWhole, {2});
        CHECK(status.code() == StatusCode::kFormat);
        CHECK(status.message().find("checksum") != std::string::npos);
        CHECK(status.message().find("(blk.1 expert 2 ") != std::string::npos);
        CHECK(serve(file, *store, 1, kWhole, {2}).is_ok());
    }
}

}  // namespace edgemoe::test
