/* SPDX-License-Identifier: MIT */
#include "plan/text.h"

/* Unicode 15, table 3-7: the ranges of the first byte and of the second; later ones are 80 to BF. */
static const struct {
	unsigned char first, last, low, high, length;
} utf8_table[] = {
    {0x20, 0x7e, 0, 0, 1},	 {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The length of the character at `text`, 0 if it is none or a control character. */
static size_t character_length(const unsigned char *text, size_t left)
{
	for (size_t i = 0; i < sizeof utf8_table / sizeof utf8_table[0]; i++) {
		size_t length = utf8_table[i].length;
		if (text[0] < utf8_table[i].first || text[0] > utf8_table[i].last)
			continue;
		if (length > left || (length > 1 && (text[1] < utf8_table[i].low || text[1] > utf8_table[i].high)))
			return 0;
		for (size_t k = 2; k < length; k++)
			if (text[k] < 0x80 || text[k] > 0xbf)
				return 0;
		/* U+0080 to U+009F are control characters too. */
		return length == 2 && text[0] == 0xc2 && text[1] < 0xa0 ? 0 : length;
	}
	return 0;
}

bool text_is_clean(const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		size_t step = character_length((const unsigned char *)text + at, length - at);
		if (step == 0)
			return false;
		at += step;
	}
	return true;
}
