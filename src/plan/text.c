/* SPDX-License-Identifier: MIT */
#include "plan/text.h"

#include <iconv.h>
#include <stdint.h>
#include <string.h>

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

/* Bytes that Windows-1252 does not have become '?'. */
static bool convert(const char *text, size_t length, char *to, size_t size)
{
	iconv_t iconv_handle = iconv_open("UTF-8", "WINDOWS-1252");
	if (iconv_handle == (iconv_t)-1)
		return false;
	char *in = (char *)(uintptr_t)text;
	size_t left = size - 1;
	while (length > 0 && left > 0) {
		if (iconv(iconv_handle, &in, &length, &to, &left) != (size_t)-1)
			break;
		if (length == 0 || left < 4)
			break;
		*to++ = '?';
		left--;
		in++;
		length--;
	}
	*to = '\0';
	(void)iconv_close(iconv_handle);
	return length == 0;
}

/* Both encodings of control characters become '?', in place. */
static void mask_controls(char *text)
{
	char *to = text;
	for (const char *from = text; *from != '\0'; from++) {
		unsigned char byte = (unsigned char)*from;
		if (byte == 0xc2 && (unsigned char)from[1] >= 0x80 && (unsigned char)from[1] < 0xa0)
			from++;
		else if (byte >= 0x20 && byte != 0x7f) {
			*to++ = *from;
			continue;
		}
		*to++ = '?';
	}
	*to = '\0';
}

static bool is_utf8(const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		const unsigned char *byte = (const unsigned char *)text + at;
		bool control = byte[0] < 0x20 || byte[0] == 0x7f;
		bool wide_control = length - at >= 2 && byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] < 0xa0;
		size_t step = control ? 1 : wide_control ? 2 : character_length(byte, length - at);
		if (step == 0)
			return false;
		at += step;
	}
	return true;
}

bool text_clean(const char *text, size_t length, char *clean, size_t size)
{
	while (length > 0 && (text[0] == ' ' || text[0] == '\t')) {
		text++;
		length--;
	}
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	if (length == 0 || length >= size || memchr(text, '\0', length) != NULL)
		return false;
	if (is_utf8(text, length)) {
		memcpy(clean, text, length);
		clean[length] = '\0';
	} else if (!convert(text, length, clean, size)) {
		return false;
	}
	mask_controls(clean);
	return true;
}
