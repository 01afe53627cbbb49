/* SPDX-License-Identifier: MIT */
#include "plan/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MANTISSA_MAX UINT64_C(100000000000000000)

static const char *const missing_table[] = {"-",	"nan",	  "n/a",     "na",     "null",
					    "none",	"-nan",	  "-1.#ind", "1.#ind", "1.#qnan",
					    "-1.#qnan", "1.#inf", "-1.#inf", "inf",    "-inf"};

struct digits {
	uint64_t mantissa;
	int exponent; /* of ten */
	bool any;
};

/* More digits than a double can hold only count as zeros. */
static const char *read_digits(const char *at, const char *end, struct digits *digits, int each)
{
	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		digits->any = true;
		if (digits->mantissa < MANTISSA_MAX) {
			digits->mantissa = digits->mantissa * 10 + (uint64_t)(*at - '0');
			digits->exponent += each;
		} else {
			digits->exponent += each + 1;
		}
	}
	return at;
}

static const char *read_exponent(const char *at, const char *end, int *exponent)
{
	if (at == end || (*at != 'e' && *at != 'E'))
		return at;
	const char *digit = at + 1;
	bool negative = digit < end && *digit == '-';
	int value = 0;
	digit += digit < end && (*digit == '-' || *digit == '+');
	const char *first = digit;
	for (; digit < end && *digit >= '0' && *digit <= '9'; digit++)
		value = value < 10000 ? value * 10 + (*digit - '0') : value;
	if (digit == first)
		return at;
	*exponent += negative ? -value : value;
	return digit;
}

static bool is_missing(const char *text, size_t length)
{
	if (length == 0)
		return true;
	for (size_t i = 0; i < sizeof missing_table / sizeof missing_table[0]; i++)
		if (strlen(missing_table[i]) == length && strncasecmp(missing_table[i], text, length) == 0)
			return true;
	return false;
}

static double scale(uint64_t mantissa, int exponent)
{
	static const double power[] = {1,    1e1,  1e2,	 1e3,  1e4,  1e5,  1e6,	 1e7,  1e8,  1e9,  1e10, 1e11,
				       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	double value = (double)mantissa;
	if (mantissa == 0 || exponent == 0)
		return value;
	if (exponent < 0 && exponent >= -22)
		return value / power[-exponent];
	if (exponent > 0 && exponent <= 22)
		return value * power[exponent];
	return value * pow(10, exponent);
}

enum value_result value_read(const char *text, size_t length, bool comma, double *value)
{
	while (length > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	const char *at = text, *end = text + length;
	struct digits digits = {0};
	bool negative = at < end && *at == '-';
	at += at < end && (*at == '-' || *at == '+');
	at = read_digits(at, end, &digits, 0);
	if (at < end && (*at == '.' || (comma && *at == ',')))
		at = read_digits(at + 1, end, &digits, -1);
	if (digits.any)
		at = read_exponent(at, end, &digits.exponent);
	if (!digits.any || at != end)
		return is_missing(text, length) ? VALUE_MISSING : VALUE_BAD;
	double size = scale(digits.mantissa, digits.exponent);
	if (!isfinite(size))
		return VALUE_BAD;
	*value = negative ? -size : size;
	return VALUE_NUMBER;
}

static bool make_time(int year, int month, int day, int hour, int minute, int second, int ms, int64_t *out)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 ||
	    day > days[month - 1] + (month == 2 && leap) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
	    second < 0 || second > 60)
		return false;
	struct tm parts = {.tm_year = year - 1900,
			   .tm_mon = month - 1,
			   .tm_mday = day,
			   .tm_hour = hour,
			   .tm_min = minute,
			   .tm_sec = second};
	*out = (int64_t)timegm(&parts) * 1000 + ms;
	return true;
}

/* Digits behind a dot or comma, the first three of them. */
static const char *read_fraction(const char *at, int *ms)
{
	if ((*at != '.' && *at != ',') || at[1] < '0' || at[1] > '9')
		return at;
	int factor = 100;
	for (at++; *at >= '0' && *at <= '9'; at++) {
		*ms += factor * (*at - '0');
		factor /= 10;
	}
	return at;
}

bool value_zone_read(const char *text, int32_t *seconds)
{
	int hours, minutes = 0, used = 0;
	if (strcmp(text, "UTC") == 0 || strcmp(text, "GMT") == 0 || strcmp(text, "Z") == 0) {
		*seconds = 0;
		return true;
	}
	if (*text != '+' && *text != '-')
		return false;
	if (text[1] < '0' || text[1] > '9' || sscanf(text + 1, "%2d%n", &hours, &used) != 1)
		return false;
	const char *rest = text + 1 + used;
	rest += *rest == ':';
	if (*rest != '\0' &&
	    (*rest < '0' || *rest > '9' || sscanf(rest, "%2d%n", &minutes, &used) != 1 || rest[used] != '\0'))
		return false;
	if (hours > 18 || minutes > 59)
		return false;
	*seconds = (*text == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

bool value_time_read(const char *text, struct value_time *time)
{
	int year, month, day, hour = 0, minute = 0, second = 0, ms = 0, used = 0;
	*time = (struct value_time){0};
	if (text[0] < '0' || text[0] > '9')
		return false;
	if (sscanf(text, "%4d-%2d-%2d%*1[T ]%2d:%2d%n", &year, &month, &day, &hour, &minute, &used) != 5 &&
	    sscanf(text, "%2d/%2d/%4d %2d:%2d%n", &month, &day, &year, &hour, &minute, &used) != 5)
		return false;
	const char *at = text + used;
	if (*at == ':' && at[1] >= '0' && at[1] <= '9' && sscanf(at, ":%2d%n", &second, &used) == 1)
		at = read_fraction(at + used, &ms);
	if (!make_time(year, month, day, hour, minute, second, ms, &time->ms))
		return false;
	at += strspn(at, " ");
	if (*at == '\0')
		return true;
	int32_t zone;
	if (!value_zone_read(at, &zone))
		return false;
	time->zoned = true;
	time->ms -= (int64_t)zone * 1000;
	return true;
}

bool value_epoch_read(const char *text, size_t length, struct value_time *time)
{
	double value;
	if (value_read(text, length, true, &value) != VALUE_NUMBER || value < -1e14 || value > 1e15)
		return false;
	/* Seconds until the year 5138; what is beyond are milliseconds since 1973. */
	time->ms = (int64_t)floor(fabs(value) > 1e11 ? value : value * 1000);
	time->zoned = true;
	return true;
}

bool value_time_format(const char *text, const char *format, struct value_time *time)
{
	struct tm parts = {.tm_mday = 1};
	const char *end = strptime(text, format, &parts);
	int ms = 0;
	if (end == NULL)
		return false;
	end = read_fraction(end, &ms);
	if (*end != '\0' || !make_time(parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
				       parts.tm_min, parts.tm_sec, ms, &time->ms))
		return false;
	time->zoned = strstr(format, "%z") != NULL;
	time->ms -= time->zoned ? (int64_t)parts.tm_gmtoff * 1000 : 0;
	return true;
}
