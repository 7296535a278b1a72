# What is done to many bytes at once: words and vectors of them where the processor has such.

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__) && defined(__GNUC__)
    #include <emmintrin.h>
    /* The sum of all bytes, 16 at a time. */
    static inline unsigned int mg_sum(const unsigned char *s, size_t n) {
        __m128i none = _mm_setzero_si128(), sums = none;
        unsigned long long total;
        size_t i = 0;
        for (; i + 16 <= n; i += 16)
            sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(s + i)), none));
        total = _mm_cvtsi128_si64(sums) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums));
        for (; i < n; i++) total += s[i];
        return (unsigned int)total;
    }
    /* Where the next SOH is, from `at` on; there is one before `n`. */
    static inline int mg_soh(const unsigned char *s, int at, int n) {
        const __m128i soh = _mm_set1_epi8(1);
        for (; at + 16 <= n; at += 16) {
            int found = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(s + at)), soh));
            if (found) return at + __builtin_ctz(found);
        }
        while (s[at] != 1) at++;
        return at;
    }
    #else
    static inline unsigned int mg_sum(const unsigned char *s, size_t n) {
        unsigned int total = 0;
        while (n--) total += *s++;
        return total;
    }
    static inline int mg_soh(const unsigned char *s, int at, int n) {
        while (s[at] != 1) at++;
        return at;
    }
    #endif
    #define MG_ONES 0x0101010101010101ULL
    #define MG_HAS_SOH(word) ((((word) ^ MG_ONES) - MG_ONES) & ~((word) ^ MG_ONES) & (MG_ONES << 7))
    /* Copy what is mostly shorter than a call of memcpy is worth; tell whether an SOH was in it. */
    static inline int mg_copy(unsigned char *to, const unsigned char *from, size_t n) {
        uint64_t first, last;
        uint32_t begin, end;
        int found = 0;
        if (n > 16) {
            memcpy(to, from, n);
            return memchr(from, 1, n) != NULL;
        }
        if (n >= 8) {
            memcpy(&first, from, 8);
            memcpy(&last, from + n - 8, 8);
            memcpy(to, &first, 8);
            memcpy(to + n - 8, &last, 8);
            return (MG_HAS_SOH(first) | MG_HAS_SOH(last)) != 0;
        }
        if (n >= 4) {
            memcpy(&begin, from, 4);
            memcpy(&end, from + n - 4, 4);
            memcpy(to, &begin, 4);
            memcpy(to + n - 4, &end, 4);
            last = (uint64_t)end << 32 | begin;
            return MG_HAS_SOH(last) != 0;
        }
        for (; n; n--, to++, from++) found |= (*to = *from) == 1;
        return found;
    }
    #define MG_NO_TEXT(word, ones) (((word) | ((word) - 32 * (ones)) | ((word) + (ones))) & ((ones) << 7))
    /* Whether all bytes are printable ASCII, 32 to 126. A borrow or carry comes only from a byte that is none. */
    static inline int mg_is_text(const unsigned char *s, size_t n) {
        uint64_t word, none = 0;
        uint32_t begin, end;
        size_t i;
        if (n >= 8) {
            for (i = 0; i + 8 <= n; i += 8) {
                memcpy(&word, s + i, 8);
                none |= MG_NO_TEXT(word, MG_ONES);
            }
            memcpy(&word, s + n - 8, 8);
            return (none | MG_NO_TEXT(word, MG_ONES)) == 0;
        }
        if (n >= 4) {
            memcpy(&begin, s, 4);
            memcpy(&end, s + n - 4, 4);
            word = (uint64_t)end << 32 | begin;
            return MG_NO_TEXT(word, MG_ONES) == 0;
        }
        for (; n; n--, s++) if (*s < 32 || *s > 126) return 0;
        return 1;
    }
    """
    unsigned int mg_sum(const unsigned char *s, size_t n) noexcept nogil
    int mg_soh(const unsigned char *s, int at, int n) noexcept nogil
    bint mg_copy(unsigned char *to, const unsigned char *source, size_t n) noexcept nogil
    bint mg_is_text(const unsigned char *s, size_t n) noexcept nogil
