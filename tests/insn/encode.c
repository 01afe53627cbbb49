/* SPDX-License-Identifier: MIT */
#include "encode.h"

static size_t encode_legacy(const struct recipe *recipe, bool mode64, uint8_t opcode,
			    const struct encode_fields *fields, uint8_t *bytes, size_t length)
{
	if (recipe->prefixes & RECIPE_LOCK)
		bytes[length++] = 0xf0;
	if (recipe->prefixes & RECIPE_67)
		bytes[length++] = 0x67;
	if (recipe->prefixes & RECIPE_66)
		bytes[length++] = 0x66;
	if (recipe->prefixes & RECIPE_F3)
		bytes[length++] = 0xf3;
	if (recipe->prefixes & RECIPE_F2)
		bytes[length++] = 0xf2;
	uint8_t rex = (uint8_t)(recipe->w << 3 | fields->r << 2 | fields->x << 1 | fields->b);
	if (mode64 && (rex != 0 || fields->rex))
		bytes[length++] = 0x40 | rex;
	if (recipe->map > 0)
		bytes[length++] = 0x0f;
	if (recipe->map == 2)
		bytes[length++] = 0x38;
	if (recipe->map == 3)
		bytes[length++] = 0x3a;
	bytes[length++] = opcode;
	return length;
}

static size_t encode_3dnow(uint8_t *bytes, size_t length)
{
	bytes[length++] = 0x0f;
	bytes[length++] = 0x0f; /* the opcode follows the operands */
	return length;
}

static size_t encode_vex(const struct recipe *recipe, uint8_t opcode, const struct encode_fields *fields,
			 uint8_t *bytes, size_t length)
{
	uint8_t last = (uint8_t)((~fields->vvvv & 15) << 3 | recipe->l << 2 | recipe->pp);
	if (recipe->prefixes & RECIPE_67)
		bytes[length++] = 0x67;
	bool xop = recipe->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP;
	if (!xop && fields->short_vex && recipe->map == 1 && recipe->w == 0 && !fields->x && !fields->b) {
		bytes[length++] = 0xc5;
		bytes[length++] = (uint8_t)((fields->r ? 0 : 0x80) | last);
	} else {
		bytes[length++] = xop ? 0x8f : 0xc4;
		bytes[length++] =
		    (uint8_t)((fields->r ? 0 : 0x80) | (fields->x ? 0 : 0x40) | (fields->b ? 0 : 0x20) | recipe->map);
		bytes[length++] = (uint8_t)(recipe->w << 7 | last);
	}
	bytes[length++] = opcode;
	return length;
}

static size_t encode_evex(const struct recipe *recipe, uint8_t opcode, const struct encode_fields *fields,
			  uint8_t *bytes, size_t length)
{
	bytes[length++] = 0x62;
	bytes[length++] =
	    (uint8_t)((fields->r ? 0 : 0x80) | (fields->x ? 0 : 0x40) | (fields->b ? 0 : 0x20) | 0x10 | recipe->map);
	bytes[length++] = (uint8_t)(recipe->w << 7 | (~fields->vvvv & 15) << 3 | 4 | recipe->pp);
	bytes[length++] = (uint8_t)(recipe->l << 5 | 8 | fields->evex_mask);
	bytes[length++] = opcode;
	return length;
}

size_t encode_head(const struct recipe *recipe, bool mode64, uint8_t opcode, const struct encode_fields *fields,
		   uint8_t bytes[INSN_MAX_BYTES])
{
	size_t length = 0;
	for (unsigned i = 0; i < fields->redundant_count; i++)
		bytes[length++] = fields->redundant[i];
	switch (recipe->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
		length = encode_legacy(recipe, mode64, opcode, fields, bytes, length);
		break;
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
		length = encode_3dnow(bytes, length);
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		length = encode_evex(recipe, opcode, fields, bytes, length);
		break;
	default:
		length = encode_vex(recipe, opcode, fields, bytes, length);
		break;
	}
	if (fields->has_modrm)
		bytes[length++] = fields->modrm;
	return length;
}
